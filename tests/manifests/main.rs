//! Every manifest people can copy, from the examples and out of the documentation, is one that Tidegate accepts.

use std::collections::BTreeMap;

use tidegate_crd::{API_VERSION, GROUP, Kind, validate};
use tidegate_tests::findings::Findings;
use tidegate_tests::manifest::{self, Document};
use tidegate_tests::tree::{File, files_below};

/// Kinds of Kubernetes' own that examples and pages hold beside ours.
const FOREIGN: [&str; 3] = ["Namespace", "ConfigMap", "ClusterRole"];

#[test]
fn examples_are_accepted() {
    let mut findings = Findings::default();
    // Each folder directly under examples/ is one set of manifests, whose fragments belong together.
    let mut folders: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for file in files_below("examples") {
        if !file.has_extension("yaml") || file.path.starts_with("examples/refused/") {
            continue;
        }
        let folder = file.path.split('/').take(2).collect::<Vec<_>>().join("/");
        match manifest::documents(&file) {
            Ok(documents) => folders.entry(folder).or_default().extend(documents),
            Err(error) => findings.add(error),
        }
    }
    for (folder, documents) in folders {
        match manifest::merged(&documents) {
            Ok(objects) => objects.iter().for_each(|object| judge(object, &mut findings)),
            Err(error) => findings.add(format!("{folder}: {error}.")),
        }
    }
    findings.assert_none();
}

#[test]
fn documented_manifests_are_accepted() {
    let mut findings = Findings::default();
    let pages = files_below("docs").into_iter().chain(files_below("examples"));
    for page in pages.filter(|page| page.has_extension("md")) {
        for (line, block) in yaml_blocks(&page.text) {
            let block = File { path: format!("{}:{line}", page.path), text: block };
            match manifest::documents(&block) {
                Err(error) => findings.add(format!("{error}.")),
                // A block that is no whole object shows a part of one.
                Ok(documents) => documents
                    .iter()
                    .filter(|document| !document.text("/kind").is_empty())
                    .for_each(|document| judge(document, &mut findings)),
            }
        }
    }
    findings.assert_none();
}

fn judge(object: &Document, findings: &mut Findings) {
    let [kind, _, name] = object.key();
    let group = object.text("/apiVersion");
    let who = format!("{}: {kind} {name}", object.path);
    match Kind::named(&kind) {
        Some(kind) if group == API_VERSION => {
            for violation in validate(kind, &object.value, None) {
                findings.add(format!("{who}: {violation}."));
            }
        }
        None if FOREIGN.contains(&kind.as_str()) && !group.starts_with(GROUP) => {}
        _ => findings.add(format!("{who}: {group} has no such kind.")),
    }
}

/// The fenced blocks of a page that say they are YAML, with the line of the fence.
fn yaml_blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```yaml" => open = Some((index + 1, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}
