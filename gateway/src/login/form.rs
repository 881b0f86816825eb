//! Forms as browsers send them, bounded and decoded.

use std::fmt;

use tidegate_core::Code;

/// Longest form body.
pub(crate) const FORM_BYTES_MAX: usize = 8 * 1024;

/// Most fields of a form.
const FIELDS_MAX: usize = 16;

/// The fields of a form; also of a query string, which is written the same way.
#[derive(Clone, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
}

impl fmt::Debug for Form {
    /// The names of the fields: what they hold may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// The fields in `body`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Code> {
        if body.len() > FORM_BYTES_MAX {
            return Err(Code::BodyTooLarge);
        }
        let mut fields = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == FIELDS_MAX {
                return Err(Code::FormInvalid);
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default()).ok_or(Code::FormInvalid)?;
            let value = decode(halves.next().unwrap_or_default()).ok_or(Code::FormInvalid)?;
            fields.push((name, value));
        }
        Ok(Self { fields })
    }

    /// A form of these fields, decoded already.
    pub(crate) fn of(fields: Vec<(String, String)>) -> Self {
        Self { fields }
    }

    /// Whether it has a field called `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(found, _)| found == name)
    }

    /// The first field called `name`; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

fn decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    // A NUL is never typed.
    String::from_utf8(out).ok().filter(|text| !text.contains('\0'))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `text` as a value in a query string.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form = Form::parse("user=w+f&pass=%E4%B8%AD%2b%26=x&empty=&bare".as_bytes()).unwrap();
        assert_eq!(form.get("user"), "w f");
        assert_eq!(form.get("pass"), "中+&=x");
        assert_eq!(form.get("empty"), "");
        assert_eq!(form.get("bare"), "");
        assert_eq!(form.get("missing"), "");
    }

    #[test]
    fn malformed_ones_are_refused() {
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "a=%00"] {
            assert_eq!(Form::parse(bad.as_bytes()).unwrap_err(), Code::FormInvalid, "{bad}");
        }
        assert_eq!(Form::parse("a=b&".repeat(17).as_bytes()).unwrap_err(), Code::FormInvalid);
        assert_eq!(Form::parse(&[b'a'; FORM_BYTES_MAX + 1]).unwrap_err(), Code::BodyTooLarge);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "[^\\x00]{0,100}") {
            let form = Form::parse(format!("t={}", encode(&text)).as_bytes()).unwrap();
            prop_assert_eq!(form.get("t"), text);
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Form::parse(&bytes);
        }
    }
}
