use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{Code, Timestamp, Zone};

use super::time::Civil;
use super::*;

const SOURCES: [(&str, &str); 2] =
    [("zh-CN", include_str!("../../texts/zh-CN.ftl")), ("en", include_str!("../../texts/en.ftl"))];

fn keys(source: &str) -> BTreeSet<String> {
    assert!(FluentResource::try_new(source.to_owned()).is_ok(), "the file parses");
    let mut keys = BTreeSet::new();
    let mut message = "";
    for line in source.lines() {
        let Some((name, _)) = line.split_once(" =") else { continue };
        let key = match name.strip_prefix("    .") {
            Some(attribute) => format!("{message}.{attribute}"),
            None if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                message = name;
                name.to_owned()
            }
            None => continue,
        };
        assert!(keys.insert(key), "{name} twice");
    }
    keys
}

/// Every `"…"` in templates and sources that is a key, with the files it is used in.
fn used() -> BTreeMap<String, String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join("templates"), root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    let mut used = BTreeMap::new();
    for path in files {
        let source = std::fs::read_to_string(&path).unwrap();
        for literal in source.split('"') {
            let key = literal.trim();
            if key.starts_with(|c: char| c.is_ascii_lowercase())
                && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
            {
                used.insert(key.to_owned(), path.display().to_string());
            }
        }
    }
    used
}

#[test]
fn both_languages_have_the_same_keys() {
    let [zh_cn, en] = SOURCES.map(|(_, source)| keys(source));
    assert_eq!(zh_cn.difference(&en).collect::<Vec<_>>(), Vec::<&String>::new(), "only in zh-CN");
    assert_eq!(en.difference(&zh_cn).collect::<Vec<_>>(), Vec::<&String>::new(), "only in en");
}

#[test]
fn no_value_holds_markup() {
    for (name, source) in SOURCES {
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            assert!(!line.replace("->", "").contains(['<', '>', '&', '\'']), "{name}: {line}");
        }
    }
}

#[test]
fn every_key_in_the_files_is_used() {
    let used = used();
    let made_from_numbers = |key: &str| key.starts_with("code-") || key.starts_with("weekday-");
    let unused: Vec<_> = keys(SOURCES[0].1)
        .into_iter()
        // A refusal is named once and brings its second sentence along.
        .filter(|key| !made_from_numbers(key) && !used.contains_key(key.trim_end_matches(".text")))
        .collect();
    assert_eq!(unused, Vec::<String>::new());
}

/// What a call like `t("…")` names must exist; the calls are the only users of these names.
#[test]
fn every_key_a_page_asks_for_exists() {
    let known = keys(SOURCES[0].1);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root.join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        for call in [".t(\"", ".rich(\"", ".with(\""] {
            for piece in source.split(call).skip(1) {
                let key = piece.split('"').next().unwrap_or_default();
                assert!(known.contains(key), "{}: {key}", path.display());
            }
        }
    }
}

#[test]
fn every_code_a_person_can_meet_has_its_three_texts() {
    let known = keys(SOURCES[0].1);
    for code in Code::ALL.iter().filter(|code| (**code as u16) < 5_000) {
        let key = format!("code-{}", code.name().replace('_', "-"));
        for key in [key.clone(), format!("{key}.lead"), format!("{key}.do")] {
            assert!(known.contains(&key), "{key} is missing");
        }
    }
}

#[test]
fn the_browser_chooses_the_language() {
    assert_eq!(preferred(""), Lang::ZhCn);
    assert_eq!(preferred("zh-CN,zh;q=0.9,en;q=0.8"), Lang::ZhCn);
    assert_eq!(preferred("en-GB,en;q=0.9,zh;q=0.1"), Lang::En);
    assert_eq!(preferred("fr-FR, en;q=0.4, zh-TW;q=0.5"), Lang::ZhCn);
    assert_eq!(preferred("en;q=NaN"), Lang::ZhCn);
    assert_eq!(preferred(&"en,".repeat(1000)), Lang::ZhCn);
}

#[test]
fn dates_are_the_calendars() {
    let shanghai = Zone { name: "Asia/Shanghai".into(), offset: 28_800, transitions: Box::default() };
    for (at, iso) in [
        (0, "1970-01-01T08:00:00+08:00"),
        (951_782_400, "2000-02-29T08:00:00+08:00"),
        (1_795_398_187, "2026-11-23T09:43:07+08:00"),
        (-1, "1970-01-01T07:59:59+08:00"),
        (4_107_542_399, "2100-03-01T07:59:59+08:00"),
    ] {
        assert_eq!(Civil::at(Timestamp(at), &shanghai).iso(), iso);
    }
    let now = Civil::at(Timestamp(1_795_398_187), &shanghai);
    assert_eq!(now.weekday, 0);
    let later = Civil::at(Timestamp(1_795_398_187 + 3 * 3_600), &shanghai);
    assert_eq!(later.relative(&now, Lang::ZhCn), "今天 12:43");
    let friday = Civil::at(Timestamp(1_795_398_187 - 3 * 86_400), &shanghai);
    assert_eq!(friday.relative(&now, Lang::ZhCn), "11月20日（周五）09:43");
    assert_eq!(friday.relative(&now, Lang::En), "Fri 20 Nov 09:43");
    assert_eq!(now.exact(Lang::En), "23 Nov 09:43:07");
}

#[test]
fn arguments_are_put_in() {
    assert_eq!(
        text_with(Lang::En, "code-no-rule", &[("system", "Payroll".into())]),
        "Payroll is not open to you"
    );
    assert_eq!(text_with(Lang::ZhCn, "queue-heading", &[("place", 37.into())]), "第 37 位");
    let one = [("number", 1.into()), ("count", "1".into())];
    assert_eq!(text_with(Lang::En, "waterline-failures", &one), "1 wrong password before this sign-in");
    assert_eq!(text(Lang::En, "no-such-key"), "no-such-key");
}
