//! Random conditions, as text.

use super::{CODES, GROUPS, HOSTS, KEYS, METHODS, NAMES, PREFIXES, RESOURCES, Random, UNITS, VALUES};

/// A condition, nested at most `depth` deep.
pub(super) fn condition(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.chance(55) {
        let mut inner = || condition(random, depth - 1);
        let (a, b, c) = (inner(), inner(), inner());
        return match random.below(8) {
            0 | 1 => format!("{a} && {b}"),
            2 | 3 => format!("({a} || {b})"),
            4 => format!("({a} && {b} || {c})"),
            5 => format!("!({a})"),
            6 => format!("(({a}) ? ({b}) : ({c}))"),
            _ => format!("(({a}) {} ({b}))", random.pick(&["==", "!="])),
        };
    }
    let relation = random.pick(&["==", "!=", "<", "<=", ">", ">="]);
    match random.below(16) {
        0 => random.pick(&["true", "false"]).into(),
        1 => format!("\"{}\" in user.attributes", random.pick(&KEYS)),
        2 => format!("has(resource.labels.{})", random.pick(&KEYS)),
        3 => format!("\"sbj/{}\" in user.groups", random.pick(&GROUPS)),
        4 => match random.below(3) {
            0 => format!("user.attributes.{} in user.groups", random.pick(&KEYS)),
            _ => {
                let (a, b) = (random.pick(&GROUPS), random.pick(&GROUPS));
                format!("(device == \"Mobile\" ? \"sbj/{a}\" : \"sbj/{b}\") in user.groups")
            }
        },
        5 => format!("\"{}\" in factors", random.pick(&crate::when::FACTORS)),
        6 | 7 => format!("{} {relation} {}", text(random), text(random)),
        8 => format!("{} {relation} {}", number(random), number(random)),
        9 => format!("{} in [{}, {}]", text(random), literal(random), literal(random)),
        10 => format!("{} in [80, 443, 2]", number(random)),
        11 => format!("{}.startsWith({})", text(random), text(random)),
        12 => format!("{}.endsWith({})", text(random), text(random)),
        13 => format!("{}.contains({})", text(random), text(random)),
        14 => {
            format!("device {} \"{}\"", random.pick(&["==", "!="]), random.pick(&crate::when::DEVICES))
        }
        _ => format!("time.weekday in [\"{}\", \"Sun\"]", random.pick(&crate::when::WEEKDAYS)),
    }
}

fn literal(random: &mut Random) -> String {
    let list: &[&str] = match random.below(8) {
        0 => &CODES,
        1 => &NAMES,
        2 => &UNITS,
        3 => &RESOURCES,
        4 => &VALUES,
        5 => &HOSTS,
        6 => &METHODS,
        _ => &PREFIXES,
    };
    format!("\"{}\"", random.pick(list))
}

fn text(random: &mut Random) -> String {
    match random.below(14) {
        0..=3 => literal(random),
        4 => format!("{}.lowerAscii()", text(random)),
        5 => format!("user.attributes.{}", random.pick(&KEYS)),
        6 => format!("resource.labels[\"{}\"]", random.pick(&KEYS)),
        7 => format!("(device == \"Mobile\" ? {} : {})", literal(random), text(random)),
        _ => random
            .pick(&[
                "user.name",
                "user.department",
                "user.unit",
                "resource.name",
                "resource.department",
                "resource.host",
                "request.method",
                "request.path",
            ])
            .into(),
    }
}

fn number(random: &mut Random) -> String {
    match random.below(9) {
        0 => random.pick(&["-1", "0", "2", "8", "17", "443", "480", "1020", "0x50"]).into(),
        1 => "resource.port".into(),
        2 => "time.minuteOfDay".into(),
        3 => "time.hour".into(),
        4 => format!("size({})", text(random)),
        5 => "size(user.groups)".into(),
        6 => "size(user.attributes)".into(),
        _ => "resource.labels.size()".into(),
    }
}
