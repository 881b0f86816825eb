//! A request's path in the one form that is decided and forwarded.
//!
//! A rule about `/admin` is worth nothing if `/%61dmin`, `//admin` or `/x/../admin` reach the same page
//! and read differently. What can be told apart safely is rewritten, the rest is refused.

use std::borrow::Cow;

/// Why a path is not taken: it would mean one thing here and another upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The normal form of `path`: unreserved characters are not encoded, other encodings are in upper case,
/// slashes are single. Encoded slashes, backslashes, control characters and dot segments are refused.
pub(crate) fn normalise(path: &str) -> Result<Cow<'_, str>, Ambiguous> {
    if !path.starts_with('/') {
        return Err(Ambiguous);
    }
    let normal = if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(rewrite(path)?) };
    if normal.split('/').any(is_dot_segment) { Err(Ambiguous) } else { Ok(normal) }
}

/// Whether nothing in it would be rewritten or refused but dot segments.
fn is_plain(path: &str) -> bool {
    let mut slash = false;
    path.bytes().all(|byte| {
        let double = slash && byte == b'/';
        slash = byte == b'/';
        !double && is_path_byte(byte)
    })
}

/// Bytes a path may have as they are (RFC 3986 `pchar` and the slash), without the percent sign. Quotes,
/// brackets and the like are not in the grammar but in real links, and nobody reads them differently.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\' | b'?' | b'#')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Some servers drop `;parameters` before they look at dots, so `..;x` is a dot segment too.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

fn rewrite(path: &str) -> Result<String, Ambiguous> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' if out.ends_with('/') => {}
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Ambiguous) };
                let decoded = u8::try_from(high * 16 + low).map_err(|_| Ambiguous)?;
                match decoded {
                    b'/' | b'\\' => return Err(Ambiguous),
                    decoded if decoded.is_ascii_control() => return Err(Ambiguous),
                    decoded if is_unreserved(decoded) => out.push(char::from(decoded)),
                    decoded => out.push_str(&format!("%{decoded:02X}")),
                }
            }
            byte if is_path_byte(byte) => out.push(char::from(byte)),
            _ => return Err(Ambiguous),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_the_same_reads_the_same() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b.html", "/a/b.html"),
            ("/%61dmin", "/admin"),
            ("//admin///x/", "/admin/x/"),
            ("/%e7%8e%8b", "/%E7%8E%8B"),
            ("/a%20b", "/a%20b"),
            ("/a%252fb", "/a%252fb"),
            ("/%7Euser/.well-known", "/~user/.well-known"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_is_read_in_two_ways_is_refused() {
        for path in [
            "",
            "*",
            "a",
            "/a/../b",
            "/a/./b",
            "/..",
            "/.",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/..;/b",
            "/.;x=1/b",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%0d%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a b",
            "/a\u{e9}",
        ] {
            assert_eq!(normalise(path), Err(Ambiguous), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(path in "/[a-z/%.;0-9A-F\\\\ ]{0,40}") {
            if let Ok(normal) = normalise(&path) {
                let again = normalise(&normal);
                prop_assert_eq!(again.as_deref(), Ok(&*normal));
                prop_assert!(!normal.contains("//"));
                prop_assert!(!normal.split('/').any(|segment| segment == ".." || segment == "."));
            }
        }

        #[test]
        fn encoding_an_unreserved_letter_changes_nothing(path in "/[a-z0-9_~-]{1,20}", at in 1usize..20) {
            if let Some(letter) = path.as_bytes().get(at) {
                let encoded = format!("{}%{letter:02x}{}", &path[..at], &path[at + 1..]);
                let normal = normalise(&encoded);
                prop_assert_eq!(normal.as_deref(), Ok(&*path));
            }
        }

        #[test]
        fn nothing_makes_it_panic(path in "\\PC{0,60}") {
            let _ = normalise(&path);
        }
    }
}
