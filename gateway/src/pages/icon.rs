//! The icons, drawn into the page so that they cost no request and take the text's colour.

macro_rules! icons {
    ($($name:literal),* $(,)?) => {
        /// Names a Resource may choose from, and those of the pages themselves.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),*];

        fn source(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../../assets/icons/", $name, ".svg"))),)*
                _ => None,
            }
        }
    };
}

icons!(
    "alert",
    "archive",
    "arrow",
    "check",
    "clock",
    "copy",
    "cross",
    "download",
    "form",
    "gate-closed",
    "gate-open",
    "gate-wait",
    "globe",
    "idcard",
    "key",
    "ledger",
    "mail",
    "phone",
    "print",
    "search",
    "star",
    "terminal",
);

/// The icon of a system that names none, or one there is not.
const FALLBACK: &str = "form";

const OPEN: &str = "<svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\" focusable=\"false\">";

/// The icon as an element; decorative, so a word always stands beside it.
pub(crate) fn inline(name: &str) -> String {
    let drawing = source(name)
        .or_else(|| source(FALLBACK))
        .and_then(|svg| svg.split_once('>'))
        .map_or("", |(_, drawing)| drawing.trim_end());
    format!("{OPEN}{drawing}")
}
