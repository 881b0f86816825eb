//! Texts in the two languages of the product.

/// A language the pages are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lang {
    /// Simplified Chinese, the first language.
    #[default]
    ZhCn,
    /// English, complete.
    En,
}

impl Lang {
    /// Both languages, the first one first.
    pub const ALL: [Self; 2] = [Self::ZhCn, Self::En];

    /// The BCP 47 tag.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::ZhCn => "zh-CN",
            Self::En => "en",
        }
    }
}

/// A name or sentence in each language; a missing translation falls back to the other one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Localized {
    /// Simplified Chinese.
    pub zh_cn: Option<Box<str>>,
    /// English.
    pub en: Option<Box<str>>,
}

impl Localized {
    /// The text in `lang`, else in the other language, else nothing.
    #[must_use]
    pub fn get(&self, lang: Lang) -> &str {
        let (first, second) = match lang {
            Lang::ZhCn => (&self.zh_cn, &self.en),
            Lang::En => (&self.en, &self.zh_cn),
        };
        first.as_deref().or(second.as_deref()).unwrap_or_default()
    }

    /// Whether there is no text in any language.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.zh_cn.is_none() && self.en.is_none()
    }
}
