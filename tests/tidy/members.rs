//! Crates share one list of lints and one list of versions, those of the root.

use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{File, files};

#[test]
fn crates_take_lints_and_versions_from_the_workspace() {
    let mut findings = Findings::default();
    // The root has the lists; fuzz targets and benches are workspaces of their own, no part of what is shipped.
    let member = |file: &File| {
        file.path.ends_with("Cargo.toml") && !file.text.lines().any(|line| line.starts_with("[workspace]"))
    };
    for file in files().iter().filter(|file| member(file)) {
        let mut section = "";
        let mut lints = false;
        for (number, line) in file.lines() {
            let line = line.trim();
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
                continue;
            }
            lints |= section == "lints" && line == "workspace = true";
            let entry = !line.is_empty() && !line.starts_with('#');
            // A crate may list itself once more, with features for its tests.
            let shared = line.contains("workspace = true") || line.contains("path = \".\"");
            if section.ends_with("dependencies") && entry && !shared {
                findings.add(format!(
                    "{}:{number}: `{line}`: give the version in the root's [workspace.dependencies], and write \
                     `.workspace = true` here.",
                    file.path
                ));
            }
        }
        if !lints {
            findings.add(format!("{}: write [lints] workspace = true.", file.path));
        }
    }
    findings.assert_none();
}
