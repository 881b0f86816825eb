//! A problem as the terminal shows it: with the line it is about.

use std::fmt;
use std::io::Read as _;

use super::FILE_BYTES_MAX;
use crate::events::Problem;

/// Letters of a line that are shown.
const LINE_MAX: usize = 120;

/// A problem and, if it can still be read, the line of the file it is about.
///
/// ```text
/// demo/resources.yaml:12:5: TG-6002 Resource dept-sbj/records: spec.web.ulr: ulr is not a field; did you mean url?
///   12 |     ulr: http://10.20.1.10:8080/
///      |     ^
/// ```
#[derive(Clone, Debug)]
pub struct Excerpt<'a> {
    problem: &'a Problem,
    line: Option<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    text: String,
    /// Blanks before the caret.
    indent: usize,
}

impl<'a> Excerpt<'a> {
    /// Reads the line a problem is about.
    #[must_use]
    pub fn of(problem: &'a Problem) -> Self {
        Self { problem, line: line(&problem.origin) }
    }
}

fn line(origin: &str) -> Option<Line> {
    let (rest, column) = origin.rsplit_once(':')?;
    let (file, number) = rest.rsplit_once(':')?;
    let (number, column): (usize, usize) = (number.parse().ok()?, column.parse().ok()?);
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    let line = text.lines().nth(number.checked_sub(1)?)?;
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let indent = line.chars().take(column.saturating_sub(1)).map(width).sum();
    Some(Line { number, text: line.chars().take(LINE_MAX).map(clean).collect(), indent })
}

/// Cells a letter takes on a terminal; Chinese ones take two.
fn width(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { code, object, origin, message } = self.problem;
        let head = match (origin.is_empty(), object.is_empty()) {
            (true, true) => format!("{code} {message}"),
            (true, false) => format!("{code} {object}: {message}"),
            (false, true) => format!("{origin}: {code} {message}"),
            (false, false) => format!("{origin}: {code} {object}: {message}"),
        };
        // A manifest's text must not be able to steer the terminal.
        f.write_str(&head.replace(char::is_control, "\u{fffd}"))?;
        if let Some(line) = self.line.as_ref().filter(|line| line.indent < LINE_MAX) {
            let gutter = line.number.to_string();
            let (margin, indent) = (gutter.len(), line.indent);
            write!(f, "\n  {gutter} | {}\n  {:margin$} | {:indent$}^", line.text, "", "")?;
        }
        Ok(())
    }
}
