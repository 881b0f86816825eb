//! A link within the repository leads somewhere.

use std::path::Path;

use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{File, files, root};

#[test]
fn links_resolve() {
    let mut findings = Findings::default();
    let files = files();
    let pages: Vec<&File> = files.iter().filter(|file| file.has_extension("md")).collect();
    for page in &pages {
        for (line, target) in targets(&page.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let whole = match path {
                "" => page.path.clone(),
                path => normal(Path::new(&page.path).parent().unwrap_or(Path::new("")), path),
            };
            if !root().join(&whole).exists() {
                findings.add(format!("{}:{line}: {target} does not exist.", page.path));
            } else if let Some(aim) = pages.iter().find(|page| page.path == whole)
                && !anchor.is_empty()
                && !headings(&aim.text).iter().any(|heading| heading == anchor)
            {
                findings.add(format!("{}:{line}: {whole} has no heading #{anchor}.", page.path));
            }
        }
    }
    findings.assert_none();
}

/// The targets of `[…](target)` outside fenced blocks, with their lines.
fn targets(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (line, text) in prose(page) {
        for part in text.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push((line, target.split(' ').next().unwrap_or_default()));
            }
        }
    }
    found
}

/// The headings of a page as anchors: lower case, spaces as hyphens, without punctuation.
fn headings(page: &str) -> Vec<String> {
    let heading =
        |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    let anchor = |heading: String| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(page).filter_map(|(_, line)| heading(line)).map(anchor).collect()
}

fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    page.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// A path from the root, without `..`.
fn normal(directory: &Path, path: &str) -> String {
    let mut parts: Vec<&str> = directory.iter().filter_map(|part| part.to_str()).collect();
    for part in path.split('/') {
        match part {
            ".." => _ = parts.pop(),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}
