//! Ids: what parses, what does not, and that printing is the inverse of parsing.

use proptest::prelude::*;
use tidegate_core::{AccountId, AccountName, DepartmentCode, GroupName, ResourceId, ResourceName};

fn check<T: std::str::FromStr>(valid: &[&str], invalid: &[&str]) {
    for text in valid {
        assert!(text.parse::<T>().is_ok(), "{text:?} was refused");
    }
    for text in invalid {
        assert!(text.parse::<T>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn each_kind_has_its_alphabet_and_length() {
    check::<DepartmentCode>(
        &["ab", "sbj", "a12345678901234"],
        &["", "a", "1a", "a-b", "A1", "a123456789012345", "社保"],
    );
    check::<AccountName>(&["w", "wang.fang", "wang-1"], &["", "-w", "w-", "w..f", "Wang", "w_f", "w/f"]);
    check::<ResourceName>(&["records", "a-b"], &["a.b", "-a", "a-", "", &"a".repeat(41)]);
    check::<GroupName>(
        &["sbj/finance", "sbj/A.b_c"],
        &["finance", "sbj/", "/finance", "sbj/a b", "sbj/财务"],
    );
    check::<AccountId>(&["sbj/wang"], &["wang", "sbj/", "s/wang", "sbj/wang/x"]);
    check::<ResourceId>(&["sbj/records"], &["records", "sbj/Records"]);
}

proptest! {
    #[test]
    fn nothing_panics_and_printing_undoes_parsing(text in "\\PC{0,70}") {
        if let Ok(id) = text.parse::<AccountId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}
