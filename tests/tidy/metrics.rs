//! The page of metrics and the sources name the same ones, and no other page names one that is not there.

use std::collections::BTreeSet;

use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{File, files_below};

/// The page.
const PAGE: &str = "docs/reference/metrics.md";

/// The crates that export metrics.
const SOURCES: [&str; 3] = ["controller/src", "gateway/src", "store/src"];

#[test]
fn metrics_are_documented() {
    let mut findings = Findings::default();
    let pages = files_below("docs");
    let Some(page) = pages.iter().find(|file| file.path == PAGE) else {
        panic!("{PAGE} does not exist");
    };
    let documented = names(&page.text, '`');
    let mut exported = BTreeSet::new();
    for file in
        SOURCES.iter().flat_map(|directory| files_below(directory)).filter(|file| !File::is_test(file))
    {
        exported.extend(names(&file.text, '"'));
    }
    for name in exported.difference(&documented) {
        findings.add(format!("{name} is exported; write in {PAGE} what it tells whom."));
    }
    for name in documented.difference(&exported) {
        findings.add(format!("{PAGE} has {name}, which nothing exports."));
    }
    for other in pages.iter().filter(|file| file.path != PAGE) {
        for name in names(&other.text, '`').difference(&exported) {
            findings.add(format!(
                "{} has {name}, which nothing exports; {PAGE} lists what there is.",
                other.path
            ));
        }
    }
    findings.assert_none();
}

/// The metrics that stand right after a quotation mark of this kind.
fn names(text: &str, mark: char) -> BTreeSet<String> {
    let name = |part: &str| -> String {
        part.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect()
    };
    // Crates have such names as well.
    let parts = text.split(mark).filter(|part| part.starts_with("tidegate_") && !part.contains("::"));
    parts.map(name).filter(|name| !name.ends_with('_')).collect()
}
