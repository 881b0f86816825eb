//! Text to words.

use std::ops::Range;

use tidegate_core::Code;

use crate::limits::MAX_TEXT;
use crate::problem::Fault;

/// A word of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    /// Digits without a sign, so that the smallest number can be written.
    Int(u64),
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 18] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", ".", ",", "(", ")", "[", "]", "-"];

/// Characters an input method for Chinese produces, and what is meant.
const FULL_WIDTH: [(char, &str); 16] = [
    ('“', "\""),
    ('”', "\""),
    ('‘', "'"),
    ('’', "'"),
    ('（', "("),
    ('）', ")"),
    ('【', "["),
    ('】', "]"),
    ('，', ","),
    ('＝', "="),
    ('！', "!"),
    ('＆', "&"),
    ('｜', "|"),
    ('＜', "<"),
    ('＞', ">"),
    ('。', "."),
];

/// All words of a text, the last being [`Token::End`].
pub(super) fn words(text: &str) -> Result<Vec<Word>, Fault> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(first) = rest.chars().next() else { break };
        if matches!(first, ' ' | '\t' | '\n' | '\r') {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (token, length) = word(rest, first).map_err(|fault| fault.moved(at))?;
            words.push(Word { token, span: at..at + length });
            at += length;
        }
    }
    words.push(Word { token: Token::End, span: text.len()..text.len() });
    Ok(words)
}

impl Fault {
    fn moved(mut self, by: usize) -> Self {
        self.span = self.span.map(|span| span.start + by..span.end + by);
        self
    }
}

fn syntax(span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) -> Fault {
    Fault::at(Code::RuleSyntax, span, message, fix)
}

fn word(rest: &str, first: char) -> Result<(Token, usize), Fault> {
    if first == '"' || first == '\'' {
        return quoted(rest, first);
    }
    if first.is_ascii_digit() {
        return digits(rest);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default();
        return Ok((Token::Name(name.into()), length));
    }
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    let span = 0..first.len_utf8();
    if let Some((_, meant)) = FULL_WIDTH.iter().find(|(wide, _)| *wide == first) {
        return Err(syntax(
            span,
            format!("`{first}` is a full-width character"),
            format!("switch the input method to English and write `{meant}`"),
        ));
    }
    Err(match first {
        '=' => syntax(span, "a single `=` compares nothing", "write `==`"),
        '&' => syntax(span, "a single `&` joins nothing", "write `&&`"),
        '|' => syntax(span, "a single `|` joins nothing", "write `||`"),
        '+' | '*' | '/' | '%' => syntax(
            span,
            format!("rules do not calculate, so `{first}` means nothing here"),
            "compare with the finished number",
        ),
        _ if first.is_alphabetic() => syntax(
            span,
            format!("`{first}` stands outside quotes"),
            "put texts between quotation marks, for example \"医政处\"",
        ),
        _ => syntax(span, format!("`{first}` means nothing here"), "remove it"),
    })
}

fn digits(rest: &str) -> Result<(Token, usize), Fault> {
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let digits = rest.get(..length).unwrap_or_default();
    if rest.get(length..).is_some_and(|after| {
        after.starts_with('.') && after.chars().nth(1).is_some_and(|c| c.is_ascii_digit())
    }) {
        return Err(syntax(0..length + 1, "rules know whole numbers only", "write a number without a point"));
    }
    let number = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    match number {
        Ok(number) => Ok((Token::Int(number), length)),
        Err(_) => Err(syntax(
            0..length,
            format!("`{digits}` is not a whole number"),
            "write digits, or a text in quotation marks",
        )),
    }
}

fn quoted(rest: &str, quote: char) -> Result<(Token, usize), Fault> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\n' => break,
            '\\' => {
                let escaped = characters.next().and_then(|(_, escape)| match escape {
                    'n' => Some('\n'),
                    't' => Some('\t'),
                    '\\' | '"' | '\'' | '`' | '?' => Some(escape),
                    'u' => {
                        let hexadecimal: String = characters.by_ref().take(4).map(|(_, c)| c).collect();
                        u32::from_str_radix(&hexadecimal, 16).ok().and_then(char::from_u32)
                    }
                    _ => None,
                });
                match escaped {
                    Some(escaped) => text.push(escaped),
                    None => {
                        return Err(syntax(
                            at..at + 1,
                            "the character after `\\` is not one that can be escaped",
                            "write `\\\\` for a backslash, `\\\"` for a quotation mark, `\\uXXXX` for a character",
                        ));
                    }
                }
            }
            _ if character == quote => {
                return if text.len() > MAX_TEXT {
                    Err(syntax(0..at + 1, format!("a text is longer than {MAX_TEXT} bytes"), "shorten it"))
                } else if text.contains('\0') {
                    Err(syntax(0..at + 1, "a text holds the character U+0000", "remove it"))
                } else {
                    Ok((Token::Text(text), at + 1))
                };
            }
            _ => text.push(character),
        }
    }
    Err(syntax(
        0..1,
        "the text that begins here does not end",
        format!("close it with `{quote}` on the same line"),
    ))
}
