//! The sentences VPN clients show, in the department's language.
//!
//! A client has a line for what is asked and one for what was wrong, so what a page says in several places is
//! said here in one go; the code ends it.

use std::sync::Arc;

use tidegate_core::{Code, Department, Lang};

use super::answer::Groups;
use crate::login::renewal::Occasion;
use crate::login::steps::Refused;
use crate::password::Rule;
use crate::portal::Visit;
use crate::text::{text, text_with};

/// Departments in one list; people of others name theirs in the address or as `name@code`.
const GROUPS_MAX: usize = 500;

/// The language of a department: that of its own name, Chinese when it has both.
pub(super) fn lang_of(department: &Department) -> Lang {
    match (&department.title.zh_cn, &department.title.en) {
        (None, Some(_)) => Lang::En,
        _ => Lang::ZhCn,
    }
}

/// The name of the service.
pub(super) fn service(visit: &Visit<'_>, lang: Lang) -> String {
    let title = visit.snapshot.as_ref().map_or("", |snapshot| snapshot.platform.title.get(lang));
    if title.is_empty() { "Tidegate".to_owned() } else { title.to_owned() }
}

/// What everybody is to read before they log in.
pub(super) fn notice(department: &Department, lang: Lang) -> String {
    match department.notice.get(lang).trim() {
        "" => text(lang, "notice-default"),
        notice => notice.to_owned(),
    }
}

/// What the form for name and password asks.
pub(super) fn welcome(page: Option<&Department>, lang: Lang) -> String {
    let asked = match page {
        Some(page) => text_with(lang, "client-welcome", &[("department", page.title.get(lang).into())]),
        None => text(lang, "client-choose"),
    };
    sentences(lang, &[&asked, &text(lang, "client-first")])
}

/// What the form for a new password asks.
pub(super) fn new_password(lang: Lang, occasion: Occasion) -> String {
    let why = match occasion {
        Occasion::Activation(_) => "client-activate",
        Occasion::Change => "password-forced-lead",
    };
    let rules = Rule::ALL.map(|rule| text(lang, rule.key()));
    sentences(lang, &[&text(lang, why), &list(lang, &rules)])
}

/// The text of a field, as terminals show it.
pub(super) fn label(lang: Lang, key: &str) -> String {
    let label = text(lang, key);
    match lang {
        Lang::ZhCn => format!("{label}："),
        Lang::En => format!("{label}: "),
    }
}

/// Why a form is asked again. Rules that were broken are said, for there is no list beside the field.
pub(super) fn refused(lang: Lang, refused: Refused, rules: Option<&[Rule]>) -> String {
    let Refused { key, code } = refused;
    let rules: Vec<String> = rules.unwrap_or_default().iter().map(|rule| text(lang, rule.key())).collect();
    let more = if rules.is_empty() { text(lang, &format!("{key}.text")) } else { list(lang, &rules) };
    sentences(lang, &[&text(lang, key), &more, &format!("({code})")])
}

/// Why nothing comes of it, what one can do, and whom to call.
pub(super) fn problem(lang: Lang, code: Code, department: Option<&Department>) -> String {
    let key = format!("code-{}", code.name().replace('_', "-"));
    let mut all = vec![
        format!("{}{}", text(lang, &key), full_stop(lang)),
        text(lang, &format!("{key}.lead")),
        text(lang, &format!("{key}.do")),
    ];
    if let Some(department) = department.filter(|department| !department.hotline.phone.is_empty()) {
        let hours = department.hotline.hours.get(lang);
        let phone = format!("{} {hours}", department.hotline.phone);
        let office = department.title.get(lang);
        all.push(text_with(
            lang,
            "client-call",
            &[("office", office.into()), ("phone", phone.trim().to_owned().into())],
        ));
    }
    all.push(format!("({code})"));
    sentences(lang, &all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A code for logs and people who search for it.
pub(super) fn code(code: Code) -> String {
    format!("{code} {}", code.title())
}

/// The departments somebody can log in to, the chosen one first. Each begins with its code: clients choose by
/// the beginning of what they show.
pub(super) fn groups(visit: &Visit<'_>, chosen: Option<&Department>, lang: Lang) -> Groups {
    let others = visit
        .snapshot
        .iter()
        .flat_map(|snapshot| snapshot.departments.values())
        .map(Arc::as_ref)
        .filter(|department| chosen.is_none_or(|chosen| chosen.code != department.code))
        // A department without people, an owner of systems only, is nothing to log in to.
        .filter(|department| !department.accounts.is_empty());
    let options = chosen
        .into_iter()
        .chain(others)
        .take(GROUPS_MAX)
        .map(|department| (department.code.to_string(), group_label(department, lang)))
        .collect();
    Groups { label: label(lang, "client-department"), options }
}

/// The department a client means: by code, or by the label it was shown or any of its names.
pub(super) fn chosen(visit: &Visit<'_>, group: &str) -> Option<Arc<Department>> {
    let group = group.trim();
    let means = |department: &Department| {
        Lang::ALL.iter().any(|lang| {
            group_label(department, *lang) == group
                || (department.title.get(*lang) == group && !group.is_empty())
        })
    };
    visit.department(group).or_else(|| {
        let snapshot = visit.snapshot.as_ref()?;
        snapshot.departments.values().find(|department| means(department)).cloned()
    })
}

fn group_label(department: &Department, lang: Lang) -> String {
    format!("{} {}", department.code, department.title.get(lang))
}

/// Several things after each other.
fn list(lang: Lang, items: &[String]) -> String {
    let between = if lang == Lang::ZhCn { "；" } else { "; " };
    format!("{}{}", items.join(between), full_stop(lang))
}

fn full_stop(lang: Lang) -> &'static str {
    if lang == Lang::ZhCn { "。" } else { "." }
}

/// Sentences after each other; Chinese ones stand without a space.
fn sentences(lang: Lang, all: &[&str]) -> String {
    let between = if lang == Lang::ZhCn { "" } else { " " };
    let all: Vec<&str> = all.iter().copied().filter(|text| !text.is_empty()).collect();
    all.join(between)
}
