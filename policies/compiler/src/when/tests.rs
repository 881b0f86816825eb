//! What can be written, and what is said about what cannot.

use proptest::prelude::*;
use tidegate_core::Code;

use super::ast::{Kind, Relation};
use super::typed::{Expr, Field};
use super::{check, cost, parse};
use crate::problem::Fault;

fn checked(text: &str) -> Result<Expr, Fault> {
    check(&parse(text)?)
}

#[test]
fn precedence_is_cels() {
    let Kind::Or(or) = parse("a || b && c == d").unwrap().kind else { panic!("|| binds last") };
    let Kind::And(and) = &or[1].kind else { panic!("&& binds before ||") };
    assert!(matches!(and[1].kind, Kind::Compare(Relation::Equal, ..)));
    assert!(matches!(parse("a ? b : c ? d : e").unwrap().kind, Kind::Select(..)));
    assert!(matches!(parse("!a.b").unwrap().kind, Kind::Not(_)));
}

#[test]
fn texts_and_numbers_are_read_as_cel_reads_them() {
    for (text, value) in [(r#""a\"b""#, "a\"b"), (r"'医\n'", "医\n"), (r#""\u533b""#, "医"), ("'\"'", "\"")]
    {
        assert_eq!(parse(text).unwrap().kind, Kind::Text(value.into()), "{text}");
    }
    for (text, value) in [("0x1F", 31), ("-9223372036854775808", i64::MIN), ("9223372036854775807", i64::MAX)]
    {
        assert_eq!(parse(text).unwrap().kind, Kind::Int(value), "{text}");
    }
    parse("true // 注释\n && false").unwrap();
}

#[test]
fn each_mistake_has_its_code_and_its_remedy() {
    for (text, code, fix) in [
        ("user.unit = \"a\"", Code::RuleSyntax, "`==`"),
        ("user.unit == “医政处”", Code::RuleSyntax, "English"),
        ("（true）", Code::RuleSyntax, "`(`"),
        ("true and false", Code::RuleSyntax, "`&&`"),
        ("true OR false", Code::RuleSyntax, "`||`"),
        ("not true", Code::RuleSyntax, "`!`"),
        ("user.unit == 医政处", Code::RuleSyntax, "quotation"),
        ("user.unit == \"a", Code::RuleSyntax, "close it"),
        ("(true", Code::RuleSyntax, "`)`"),
        ("true &", Code::RuleSyntax, "`&&`"),
        ("1 + 1 == 2", Code::RuleSyntax, "finished number"),
        ("resource.port - 1 == 2", Code::RuleSyntax, "finished number"),
        ("1.5 > 1", Code::RuleSyntax, "without a point"),
        ("1 < 2 < 3", Code::RuleSyntax, "`a < b && b < c`"),
        ("99999999999999999999 == 1", Code::RuleSyntax, "digits"),
        ("", Code::RuleSyntax, "write a value"),
        ("true true", Code::RuleSyntax, "join it"),
        ("usr.name == \"a\"", Code::RuleName, "`user`"),
        ("user.nmae == \"a\"", Code::RuleName, "`name`"),
        ("request.method.beginsWith(\"G\")", Code::RuleName, "startsWith"),
        ("request.path.matches(\"a.*\")", Code::RuleName, "startsWith"),
        ("device == \"Dekstop\"", Code::RuleName, "`Desktop`"),
        ("\"totp\" in factors", Code::RuleName, "`Totp`"),
        ("time.weekday == \"Monday\"", Code::RuleName, "Mon, Tue"),
        ("resource.port == \"443\"", Code::RuleType, "without quotation"),
        ("user.name == 1", Code::RuleType, "quotation"),
        ("user.name", Code::RuleType, "compare it"),
        ("\"a\"", Code::RuleType, "compare it"),
        ("user", Code::RuleType, "user.name"),
        ("user.groups == \"a\"", Code::RuleType, "in user.groups"),
        ("\"doctors\" in user.groups", Code::RuleType, "\"sbj/doctors\""),
        ("user.name in [1]", Code::RuleType, "same type"),
        ("user.name in [user.unit]", Code::RuleType, "||"),
        ("user.name in \"abc\"", Code::RuleType, "[a, b]"),
        ("device > \"Mobile\"", Code::RuleType, "`==`"),
        ("true ? 1 : 2", Code::RuleType, "compare it"),
        ("(true ? 1 : \"a\") == 1", Code::RuleType, "same type"),
        ("startsWith(\"a\")", Code::RuleType, "request.path.startsWith"),
        ("request.path.startsWith()", Code::RuleType, "startsWith(\"/archive\")"),
        ("request.path.startsWith", Code::RuleType, "parentheses"),
        ("has(user.name)", Code::RuleType, "has(user.attributes.title)"),
        ("user.attributes[user.name] == \"a\"", Code::RuleType, "quotation"),
        ("[1] == [1]", Code::RuleType, "value in"),
    ] {
        let fault = checked(text).expect_err(text);
        assert_eq!(fault.code, code, "{text}: {fault}");
        assert!(fault.fix.contains(fix), "{text}: {fault}");
        assert!(fault.span.is_some(), "{text}: {fault}");
    }
}

#[test]
fn a_fault_points_at_the_place_people_see() {
    let text = "user.unit == \"医政处\" &&\n  user.nmae == \"a\"";
    let fault = checked(text).unwrap_err();
    let place = fault.place(text).unwrap();
    assert_eq!((place.line, place.column), (2, 3));
    assert_eq!(fault.excerpt(text).unwrap(), "  user.nmae == \"a\"\n  ^^^^^^^^^");

    let text = "user.unit == \"医\" && x";
    let fault = checked(text).unwrap_err();
    // Chinese characters are two columns wide on a terminal, one for an editor.
    assert_eq!(fault.place(text).unwrap().column, 21);
    assert_eq!(fault.excerpt(text).unwrap(), format!("{text}\n{}^", " ".repeat(21)));
}

#[test]
fn nesting_and_length_are_bounded() {
    for text in [
        format!("{}true{}", "(".repeat(200), ")".repeat(200)),
        format!("{}true", "!(".repeat(2_000)),
        format!("true{}", " || true".repeat(600)),
        format!("user.name in [{}\"a\"]", "\"a\",".repeat(300)),
        format!("user.name == \"{}\"", "a".repeat(2_000)),
        format!("user{}", ".a".repeat(600)),
        "a".repeat(5_000),
        "true ? true : ".repeat(100) + "true",
    ] {
        let fault = checked(&text).expect_err("too much");
        assert_eq!(fault.code, Code::RuleSyntax, "{fault}");
    }
    checked(&format!("true{}", " || true".repeat(400))).unwrap();
}

#[test]
fn has_and_in_ask_the_same() {
    let has = checked("has(user.attributes.title)").unwrap();
    assert_eq!(has, checked("\"title\" in user.attributes").unwrap());
    assert_eq!(
        checked("user.attributes.title == user.unit").unwrap(),
        Expr::CompareText(
            Relation::Equal,
            Box::new(Expr::Attribute("title".into())),
            Box::new(Expr::Field(Field::UserUnit))
        )
    );
}

#[test]
fn searching_a_long_path_costs_more_than_comparing_a_name() {
    let cost = |text| cost(&checked(text).unwrap());
    assert!(cost("request.path.contains(user.name)") > 100 * cost("user.name == \"a\"") / 2);
}

/// Words that nearly make expressions, joined at random.
const WORDS: [&str; 28] = [
    "user",
    ".",
    "name",
    "attributes",
    "[",
    "]",
    "\"a\"",
    "==",
    "in",
    "(",
    ")",
    "&&",
    "||",
    "!",
    "?",
    ":",
    "1",
    "-",
    ",",
    "true",
    "device",
    "has",
    "size",
    "医",
    "\"",
    "'",
    "\\",
    "\n",
];

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in ".{0,60}") {
        holds_together(&text)?;
    }

    #[test]
    fn no_near_expression_breaks_the_parser(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..30)) {
        holds_together(&words.concat())?;
    }
}

/// Whatever comes out, places lie inside the text and between characters.
fn holds_together(text: &str) -> Result<(), TestCaseError> {
    match checked(text) {
        Ok(expr) => prop_assert!(cost(&expr) > 0),
        Err(fault) => {
            let span = fault.span.clone().unwrap_or_default();
            prop_assert!(text.get(span).is_some(), "{fault}");
            prop_assert!(fault.place(text).is_some());
            prop_assert!(fault.excerpt(text).is_some());
            prop_assert!(!fault.message.is_empty() && !fault.fix.is_empty());
        }
    }
    Ok(())
}
