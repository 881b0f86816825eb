//! Words that no file holds: traces of one machine, unfinished work, tests that are not run or that wait for the
//! clock. Each is put together here from two halves, so that this file does not hold it either.

use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{File, files};

const TRACES: [(&str, &str); 13] = [
    (concat!("/wo", "rk/"), "is a path of one machine; use a relative one"),
    (concat!("/ro", "ot/"), "is a path of one machine; use a relative one"),
    (concat!("arti", "factory"), "is the name of somebody's registry; name the package"),
    (
        concat!("registry.npm", "js.org"),
        "is a registry's host; the client knows it (omit-lockfile-registry-resolved)",
    ),
    (concat!("static.crates", ".io"), "is a registry's host; cargo knows it"),
    (concat!("index.crates", ".io"), "is a registry's host; cargo knows it"),
    (concat!("proxy.golang", ".org"), "is a registry's host; go knows it"),
    (concat!("deb.debian", ".org"), "is a registry's host; apt knows it"),
    (concat!("files.python", "hosted.org"), "is a registry's host; pip knows it"),
    (concat!("repo.maven", ".apache.org"), "is a registry's host; mvn knows it"),
    (concat!("helper", " session"), "says how the text was made; say what it is about"),
    (concat!("TO", "DO"), "is unfinished work; do it, or leave it out"),
    (concat!("FIX", "ME"), "is unfinished work; do it, or leave it out"),
];

const RUST: [(&str, &str); 3] = [
    (concat!("todo", "!("), "is unfinished work; do it, or refuse with a code"),
    (concat!("unimplemented", "!("), "is unfinished work; do it, or refuse with a code"),
    (concat!("#[", "ignore"), "hides a test; assert what happens today and say why it is wrong"),
];

const TESTS: [(&str, &str); 1] =
    [(concat!("thread::", "sleep"), "makes a test slow or flaky; wait for the condition with a deadline")];

/// The one place in which tests pause between two looks.
const PAUSE: &str = "tests/src/wait.rs";

#[test]
fn no_file_holds_a_forbidden_word() {
    let mut findings = Findings::default();
    for file in files() {
        look(&file, &TRACES, &mut findings);
        if file.has_extension("rs") {
            look(&file, &RUST, &mut findings);
            if file.is_test() && file.path != PAUSE {
                look(&file, &TESTS, &mut findings);
            }
        }
    }
    findings.assert_none();
}

fn look(file: &File, words: &[(&str, &str)], findings: &mut Findings) {
    for (line, text) in file.lines() {
        for (word, why) in words.iter().filter(|(word, _)| text.contains(word)) {
            findings.add(format!("{}:{line}: `{word}` {why}.", file.path));
        }
    }
}

/// `cargo nextest` runs no documentation tests, and `make test` looks for them by their tag.
#[test]
fn every_fence_in_documentation_says_what_it_holds() {
    let mut findings = Findings::default();
    for file in files().iter().filter(|file| file.has_extension("rs")) {
        let mut open = false;
        for (line, text) in file.lines() {
            let text = text.trim_start();
            let Some(comment) = text.strip_prefix("//!").or_else(|| text.strip_prefix("///")) else {
                open = false;
                continue;
            };
            if let Some(tag) = comment.trim().strip_prefix("```") {
                if !open && tag.is_empty() {
                    findings.add(format!("{}:{line}: write ```text or ```rust.", file.path));
                }
                open = !open;
            }
        }
    }
    findings.assert_none();
}
