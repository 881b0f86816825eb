//! Texts, address ranges and labels.

use std::collections::BTreeMap;

use tidegate_core::{Cidr, Localized};

use super::Problems;
use crate::types::Text;

pub(super) fn localized(text: &Text) -> Localized {
    let keep = |text: &Option<String>| text.as_deref().map(Into::into);
    Localized { zh_cn: keep(&text.zh_cn), en: keep(&text.en) }
}

pub(super) fn boxed(text: Option<&String>) -> Box<str> {
    text.map(String::as_str).unwrap_or_default().into()
}

pub(super) fn map(map: &BTreeMap<String, String>) -> BTreeMap<Box<str>, Box<str>> {
    map.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

pub(super) fn cidrs(texts: &[String], path: &str, problems: &mut Problems) -> Vec<Cidr> {
    let fix = "write address and length with no bit set behind it, for example 10.20.0.0/16";
    let parse = |(index, text): (usize, &String)| {
        let message = |_| format!("{text:?} is not an address range");
        problems.take(&format!("{path}[{index}]"), text.parse::<Cidr>().map_err(message), fix)
    };
    texts.iter().enumerate().filter_map(parse).collect()
}
