//! The language of answers for people, from the environment.

use tidegate_core::Lang;

/// Chinese when the locale says so, English otherwise: terminals without Chinese fonts are common.
pub(crate) fn of_environment() -> Lang {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    of_locale(&["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set).unwrap_or_default())
}

fn of_locale(locale: &str) -> Lang {
    if locale.to_ascii_lowercase().starts_with("zh") { Lang::ZhCn } else { Lang::En }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_are_recognised() {
        assert_eq!(of_locale("zh_CN.UTF-8"), Lang::ZhCn);
        for other in ["C.UTF-8", "en_GB.UTF-8", ""] {
            assert_eq!(of_locale(other), Lang::En);
        }
    }
}
