//! Writes YAML: block style, keys sorted, every text that could be read as something else in quotes.

use std::fmt::Write as _;

use serde_json::Value;

/// Words that some reader of YAML takes for a boolean or for nothing.
const WORDS: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// The value as a YAML document, ending in a line break.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(&mut out, value, 0, false),
        scalar => {
            inline(&mut out, scalar);
            out.push('\n');
        }
    }
    out
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    }
}

/// Writes a filled mapping or sequence; `continues` when the first line already has its indentation.
fn block(out: &mut String, value: &Value, indent: usize, continues: bool) {
    let mut first = continues;
    let mut start = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                start(out);
                text(out, key);
                out.push(':');
                if is_empty(value) {
                    out.push(' ');
                    inline(out, value);
                    out.push('\n');
                } else {
                    out.push('\n');
                    // A sequence needs no further indentation below its key.
                    let deeper = if value.is_array() { 0 } else { 2 };
                    block(out, value, indent + deeper, false);
                }
            }
        }
        Value::Array(list) => {
            for value in list {
                start(out);
                out.push_str("- ");
                if is_empty(value) {
                    inline(out, value);
                    out.push('\n');
                } else {
                    block(out, value, indent + 2, true);
                }
            }
        }
        scalar => inline(out, scalar),
    }
}

fn inline(out: &mut String, value: &Value) {
    match value {
        Value::String(string) => text(out, string),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        scalar => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{scalar}");
        }
    }
}

fn text(out: &mut String, string: &str) {
    if is_plain(string) {
        out.push_str(string);
    } else {
        // A JSON string is a double-quoted YAML scalar.
        let _ = write!(out, "{}", Value::from(string));
    }
}

/// Whether every reader takes the bare text for this very text.
fn is_plain(string: &str) -> bool {
    let safe = |c: char| {
        c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/' | '(' | ')' | ';' | '$' | ',')
    };
    string.starts_with(|c: char| c.is_alphabetic() || c == '$')
        && !string.ends_with(' ')
        && string.chars().all(safe)
        && !WORDS.contains(&string.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::write;

    #[test]
    fn nests_and_quotes() {
        let value = json!({
            "a": {"b": [1, "yes", {"c": "x: y", "d": []}, [true]], "e": {}},
            "f": "plain text, and more",
            "g": "08:00",
            "h": "^[a-z]\\.\"$",
        });
        let yaml = "a:\n  b:\n  - 1\n  - \"yes\"\n  - c: \"x: y\"\n    d: []\n  - - true\n  e: {}\n\
                    f: plain text, and more\ng: \"08:00\"\nh: \"^[a-z]\\\\.\\\"$\"\n";
        assert_eq!(write(&value), yaml);
    }
}
