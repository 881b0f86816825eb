//! Rules and departments: who puts rules in force, and who says which department supervises which.

use serde_json::{Value, json};

use crate::case::Then::{NoRight, Refused, Stored};
use crate::case::Write::{Apply, Create};
use crate::case::{Case, Then, Who, Write, spec, with};

const AUTHOR: Who = Who { name: "li.qiang", groups: &["sbj-policy-authors"] };
const DRAFTER: Who = Who { name: "qian.wen", groups: &["drafters"] };
const CHIEF: Who = Who { name: "sun.li", groups: &["sbj-department-admins"] };
const PLATFORM: Who = Who { name: "zhao.min", groups: &["platform"] };
const BUREAU: Who = Who { name: "he.lin", groups: &["bureau"] };
const ROOT: Who = Who { name: "root", groups: &["system:masters"] };

/// A policy without a mode, which is then `Enforce`.
fn policy() -> Value {
    json!({"target": {"resources": {}}, "rules": [{"name": "clerks", "effect": "Allow", "match": {"groups": ["clerks"]}}]})
}

fn mode(name: &str) -> Value {
    json!({"mode": name})
}

/// Who puts rules in force.
pub(crate) fn rules() -> Vec<Case> {
    let case = |what, name: &str, before: Option<Value>, who, write, then| Case {
        what,
        kind: "AccessPolicy",
        name: name.to_owned(),
        before,
        who,
        write,
        then,
    };
    let dry = || with(policy(), &mode("DryRun"));
    let changed = || json!({"rules": [{"name": "everybody", "effect": "Allow"}]});
    vec![
        case("an author publishes", "a1", None, AUTHOR, Create(policy()), Stored),
        case("a department admin publishes", "a2", None, CHIEF, Apply("author", policy()), Stored),
        case("a drafter writes a draft", "a3", None, DRAFTER, Create(dry()), Stored),
        case(
            "a drafter publishes",
            "a4",
            None,
            DRAFTER,
            Create(with(policy(), &mode("Enforce"))),
            Refused("TG-6023"),
        ),
        case(
            "a drafter publishes by default",
            "a5",
            None,
            DRAFTER,
            Apply("author", policy()),
            Refused("TG-6023"),
        ),
        case("a drafter edits a draft", "a6", Some(dry()), DRAFTER, spec(changed()), Stored),
        case(
            "a drafter makes a draft count",
            "a7",
            Some(dry()),
            DRAFTER,
            spec(mode("Enforce")),
            Refused("TG-6023"),
        ),
        case(
            "a drafter edits rules in force",
            "a8",
            Some(policy()),
            DRAFTER,
            spec(changed()),
            Refused("TG-6023"),
        ),
        case(
            "a drafter takes rules out",
            "a9",
            Some(policy()),
            DRAFTER,
            spec(mode("Disabled")),
            Refused("TG-6023"),
        ),
        case("an author takes rules out", "a10", Some(policy()), AUTHOR, spec(mode("Disabled")), Stored),
    ]
}

/// Who says which department supervises which.
pub(crate) fn departments() -> Vec<Case> {
    let department = |code: &str, more: Value| {
        let names = json!({"zh-CN": "科室", "en": "Section"});
        with(json!({"code": code, "names": names, "timeZone": "Asia/Shanghai"}), &more)
    };
    let case = |what, code: &str, more: Value, who, write: Write, then: Then| Case {
        what,
        kind: "Department",
        name: code.to_owned(),
        before: Some(department(code, more)),
        who,
        write,
        then,
    };
    let below = || json!({"parent": "rsj"});
    let supervised = || json!({"supervisor": "rsj"});
    let new = Case {
        before: None,
        ..case(
            "the platform makes a supervised department",
            "ga",
            Value::Null,
            PLATFORM,
            Create(department("ga", json!({"parent": "rsj", "supervisor": "rsj"}))),
            Refused("TG-6023"),
        )
    };
    vec![
        new,
        case("the bureau supervises a child", "gb", below(), BUREAU, spec(supervised()), Stored),
        case(
            "somebody else makes it supervise",
            "gc",
            below(),
            PLATFORM,
            spec(supervised()),
            Refused("TG-6023"),
        ),
        case(
            "the bureau stops supervising",
            "gd",
            json!({"parent": "rsj", "supervisor": "rsj"}),
            BUREAU,
            spec(json!({"supervisor": null})),
            Stored,
        ),
        case(
            "the bureau takes a child of another",
            "ge",
            json!({"parent": "szj"}),
            BUREAU,
            spec(json!({"parent": "rsj", "supervisor": "rsj"})),
            Refused("TG-6023"),
        ),
        case(
            "the bureau gives a child away",
            "gf",
            below(),
            BUREAU,
            spec(json!({"parent": "szj"})),
            Refused("TG-6023"),
        ),
        case(
            "the bureau takes one without a parent",
            "gg",
            json!({}),
            BUREAU,
            spec(supervised()),
            Refused("TG-6023"),
        ),
        case(
            "other fields need no such right",
            "gh",
            below(),
            PLATFORM,
            spec(json!({"timeZone": "UTC"})),
            Stored,
        ),
        case("a department admin has no right", "gi", below(), CHIEF, spec(supervised()), NoRight),
        case("the administrator may", "gj", json!({}), ROOT, spec(supervised()), Stored),
        case("a code never changes", "gk", below(), ROOT, spec(json!({"code": "gl"})), Refused("TG-6017")),
    ]
}
