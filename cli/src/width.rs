//! Text in columns on a terminal, where a Chinese character takes two.

/// Columns a character takes: enough of Unicode's East Asian Width for what is printed here.
fn of_char(letter: char) -> usize {
    let wide = matches!(u32::from(letter),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe4f | 0xff00..=0xff60
        | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd);
    match (letter, wide) {
        ('\u{0}'..='\u{1f}' | '\u{7f}' | '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}', _) => 0,
        (_, true) => 2,
        (_, false) => 1,
    }
}

/// Columns a text takes.
pub(crate) fn of(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

/// The text cut and filled to exactly `columns`. Control characters are left out: a name in a manifest must
/// not be able to steer the terminal.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let clean: String = text.chars().filter(|letter| of_char(*letter) > 0).collect();
    let mut fitted = String::new();
    let mut used = 0;
    let room = if of(&clean) > columns { columns.saturating_sub(1) } else { columns };
    for letter in clean.chars() {
        if used + of_char(letter) > room {
            fitted.push('…');
            used += 1;
            break;
        }
        used += of_char(letter);
        fitted.push(letter);
    }
    fitted.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_takes_two_columns() {
        assert_eq!((of("王芳"), of("Wang"), of("王 W")), (4, 4, 4));
        assert_eq!(fit("王芳", 6), "王芳  ");
        assert_eq!(fit("王小芳", 5), "王小…");
        assert_eq!(fit("王小芳", 4), "王… ");
        assert_eq!(fit("\u{1b}[31mred", 7), "[31mred");
    }
}
