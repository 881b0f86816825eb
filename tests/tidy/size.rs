//! A file can be read in one sitting.

use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{File, files};

/// No file is longer.
const LINES_MAX: usize = 1_000;

/// Half of the Rust files are shorter.
const MEDIAN_MAX: usize = 250;

/// What people write and read as a program.
const EXTENSIONS: [&str; 7] = ["rs", "py", "js", "mjs", "css", "html", "sh"];

#[test]
fn no_file_is_too_long() {
    let mut findings = Findings::default();
    let mut rust = Vec::new();
    for file in files() {
        let lines = file.text.lines().count();
        if lines > LINES_MAX && EXTENSIONS.iter().any(|extension| file.has_extension(extension)) {
            findings.add(format!("{} has {lines} lines; split it by subject.", file.path));
        }
        if file.has_extension("rs") {
            rust.push(lines);
        }
    }
    rust.sort_unstable();
    let median = rust[rust.len() / 2];
    println!("{} Rust files, median {median} lines, longest {}", rust.len(), rust[rust.len() - 1]);
    if median > MEDIAN_MAX {
        findings.add(format!("The median Rust file has {median} lines; split the longest."));
    }
    findings.assert_none();
}

#[test]
fn every_rust_file_that_is_not_a_test_begins_with_what_it_is() {
    let mut findings = Findings::default();
    let needs = |file: &File| file.has_extension("rs") && !file.is_test() && !file.path.ends_with("build.rs");
    for file in files().iter().filter(|file| needs(file)) {
        if !file.text.trim_start_matches("#![no_main]").trim_start().starts_with("//!") {
            findings.add(format!("{} has no module documentation on its first line.", file.path));
        }
    }
    findings.assert_none();
}
