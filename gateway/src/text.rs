//! The texts of the pages in both languages, and which language a browser wants.
//!
//! `texts/*.ftl` hold one key set; a test keeps it so, and another that every key used exists.
//! A key is `message` or `message.attribute`. Values hold no markup: what must be emphasised or is a
//! link comes in as an argument, already escaped ([`crate::pages::Markup`]).

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use tidegate_core::Lang;
use unic_langid::langid;

pub(crate) mod time;

#[cfg(test)]
mod tests;

/// Longest `Accept-Language` that is looked at.
const ACCEPT_LANGUAGE_BYTES_MAX: usize = 256;

type Bundle = FluentBundle<FluentResource>;

static BUNDLES: LazyLock<[Bundle; 2]> = LazyLock::new(|| {
    [
        bundle(langid!("zh-CN"), include_str!("../texts/zh-CN.ftl")),
        bundle(langid!("en"), include_str!("../texts/en.ftl")),
    ]
});

fn bundle(lang: unic_langid::LanguageIdentifier, source: &str) -> Bundle {
    // Errors in the files are found by the tests; a page must come out in any case.
    let resource = match FluentResource::try_new(source.to_owned()) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    let mut bundle = Bundle::new_concurrent(vec![lang]);
    // No invisible isolation marks: screen readers and copied codes stay clean.
    bundle.set_use_isolating(false);
    let _ = bundle.add_resource(resource);
    bundle
}

fn of(lang: Lang) -> &'static Bundle {
    let [zh_cn, en] = &*BUNDLES;
    match lang {
        Lang::ZhCn => zh_cn,
        Lang::En => en,
    }
}

/// The text of `key`; the key itself when there is none, which a test rules out.
#[must_use]
pub(crate) fn text(lang: Lang, key: &str) -> String {
    text_with(lang, key, &[])
}

/// The text of `key` with `arguments` put in.
#[must_use]
pub(crate) fn text_with(lang: Lang, key: &str, arguments: &[(&str, FluentValue<'_>)]) -> String {
    let bundle = of(lang);
    let (message, attribute) = match key.split_once('.') {
        Some((message, attribute)) => (message, Some(attribute)),
        None => (key, None),
    };
    let pattern = bundle.get_message(message).and_then(|found| match attribute {
        Some(attribute) => found.get_attribute(attribute).map(|attribute| attribute.value()),
        None => found.value(),
    });
    let Some(pattern) = pattern else { return key.to_owned() };
    let arguments: FluentArgs<'_> = arguments.iter().map(|(name, value)| (*name, value.clone())).collect();
    bundle.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned()
}

/// The language an `Accept-Language` header asks for; Chinese when it names neither.
#[must_use]
pub(crate) fn preferred(accept_language: &str) -> Lang {
    if accept_language.len() > ACCEPT_LANGUAGE_BYTES_MAX {
        return Lang::default();
    }
    let mut best = (Lang::default(), 0.0_f32);
    for part in accept_language.split(',') {
        let mut pieces = part.split(';');
        let tag = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let lang = match tag.split('-').next() {
            Some("zh") => Lang::ZhCn,
            Some("en") => Lang::En,
            _ => continue,
        };
        let weight = pieces
            .find_map(|piece| piece.trim().strip_prefix("q="))
            .map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
        if weight.is_finite() && weight > best.1 {
            best = (lang, weight);
        }
    }
    best.0
}
