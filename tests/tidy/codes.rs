//! Every code a person can be shown has a page that says what to do, and every code that is mentioned exists.

use std::collections::BTreeSet;

use tidegate_core::Code;
use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{files, files_below};

/// Where the pages are.
const PAGES: &str = "docs/reference/codes/";

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let mut findings = Findings::default();
    let pages = files_below(PAGES);
    for code in Code::ALL {
        let path = format!("{PAGES}{}.md", code.id());
        match pages.iter().find(|page| page.path == path) {
            None => findings.add(format!("{} ({}) has no page; write {path}.", code.id(), code.title())),
            Some(page) if !page.text.starts_with(&format!("# {} ", code.id())) => {
                findings.add(format!("{path} does not begin with `# {} `.", code.id()));
            }
            Some(_) => {}
        }
    }
    let known = known();
    for page in pages {
        let name = page.path.trim_start_matches(PAGES).trim_end_matches(".md");
        if name.starts_with("TG-") && !known.contains(name) {
            findings.add(format!("{} is about a code that does not exist; remove it.", page.path));
        }
    }
    findings.assert_none();
}

#[test]
fn codes_that_are_mentioned_exist() {
    let mut findings = Findings::default();
    let known = known();
    for file in files() {
        for (line, text) in file.lines() {
            for part in text.split("TG-").skip(1) {
                let digits = part.bytes().take_while(u8::is_ascii_digit).count();
                let code = format!("TG-{}", &part[..digits]);
                if digits == 4 && !known.contains(&code) {
                    findings.add(format!("{}:{line}: {code} does not exist.", file.path));
                }
            }
        }
    }
    findings.assert_none();
}

fn known() -> BTreeSet<String> {
    Code::ALL.iter().map(|code| code.id().to_string()).collect()
}
