use proptest::prelude::*;

use super::*;

const WANG: &[&str] = &["wangfang", "王芳", "财务科", "市社会保险服务中心", "sbzx"];

#[test]
fn good_ones_pass() {
    for good in ["Lantern-7-harbour", "Kite.Moss.42", "青石-Bridge-88", "rV9#kelp-Tin"] {
        assert_eq!(broken(good, WANG), [], "{good}");
    }
}

#[test]
fn each_rule_is_told_apart() {
    for (bad, rule) in [
        ("Kel7-x", Rule::Length),
        ("kelp-moss-lantern", Rule::Classes),
        ("KELPMOSS4711", Rule::Classes),
        ("WangFang-71x", Rule::Personal),
        ("Kx7-王芳-Moss", Rule::Personal),
        ("7Sbzx-kelp-Moss", Rule::Personal),
        ("Password1!", Rule::Common),
        ("P@ssw0rd2026", Rule::Common),
        ("Woaini1314!", Rule::Common),
        ("Haikou@2026", Rule::Common),
        ("1qaz2WSX", Rule::Common),
        ("Abcdef123!", Rule::Common),
        ("Aa1Aa1Aa1", Rule::Common),
        ("Qwerty#2026", Rule::Common),
    ] {
        assert!(broken(bad, WANG).contains(&rule), "{bad}: {:?}", broken(bad, WANG));
    }
    assert_eq!(broken(&"Ab1-".repeat(64), WANG).first(), Some(&Rule::Length));
    assert_eq!(broken("", WANG), [Rule::Length, Rule::Classes, Rule::Common]);
}

#[test]
fn short_names_forbid_nothing() {
    assert_eq!(broken("Lantern-7-harbour", &["an", "li", "n", ""]), []);
}

#[test]
fn the_list_is_lower_case_and_without_doubles() {
    let lines: Vec<_> = include_str!("common.txt").lines().collect();
    assert!(lines.len() > 300);
    assert_eq!(lines.len(), COMMON.len());
    assert!(lines.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())));
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in "\\PC{0,200}", name in "\\PC{0,20}") {
        let rules = broken(&text, &[&name]);
        prop_assert!(!rules.contains(&Rule::Recent));
        prop_assert_eq!(rules.contains(&Rule::Length), !(8..=128).contains(&text.chars().count()));
    }
}
