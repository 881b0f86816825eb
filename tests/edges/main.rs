//! The law of edges: which crate may use which, by `cargo metadata`.
//!
//! The table in [`law`] is the one of `docs/adr/0001-crates-and-edges.md`. Three things are held: edges between our
//! crates, who alone may list a dangerous dependency, and what may appear nowhere below a crate. Only what is
//! compiled into programs counts: tests may use more.

mod graph;
mod law;

use graph::Graph;
use tidegate_tests::findings::Findings;

#[test]
fn every_crate_has_a_row_and_every_row_a_crate() {
    let graph = Graph::read();
    let mut rows: Vec<&str> = law::CRATES.iter().map(|row| row.name).collect();
    let mut crates = graph.members();
    rows.sort_unstable();
    crates.sort_unstable();
    assert_eq!(crates, rows, "a new crate needs a row in tests/edges/law.rs and a line in the ADR");
}

#[test]
fn crates_use_only_the_crates_they_may() {
    let graph = Graph::read();
    let members = graph.members();
    let mut findings = Findings::default();
    for row in law::CRATES {
        for used in graph.direct(row.name).into_iter().filter(|used| members.contains(used)) {
            if !row.may_use.contains(&used) {
                findings.add(format!(
                    "{name} may not use {used}. Why: {why}. What to do: remove {used} from {path}, and {instead}.",
                    name = row.name,
                    why = row.why,
                    path = graph.manifest(row.name),
                    instead = row.instead,
                ));
            }
        }
    }
    findings.assert_none();
}

#[test]
fn dangerous_dependencies_have_owners() {
    let graph = Graph::read();
    let mut findings = Findings::default();
    for owned in law::OWNED {
        for member in graph.members() {
            if graph.direct(member).contains(&owned.name) && !owned.owners.contains(&member) {
                findings.add(format!(
                    "{member} may not list {name}. Why: {why}. What to do: remove it from {path}; only \
                     {owners} may.",
                    name = owned.name,
                    why = owned.why,
                    path = graph.manifest(member),
                    owners = owned.owners.join(" and "),
                ));
            }
        }
    }
    findings.assert_none();
}

#[test]
fn nothing_forbidden_is_compiled_in() {
    let graph = Graph::read();
    let mut findings = Findings::default();
    for row in law::CRATES {
        for (found, chain) in graph.closure(row.name) {
            let Some(why) = row.forbids(found) else { continue };
            // Whatever comes with a forbidden crate goes with it, and what another crate of ours may not contain
            // is said of that one.
            let between = &chain[1..chain.len() - 1];
            let said = between.iter().any(|name| {
                row.forbids(name).is_some()
                    || law::CRATES.iter().any(|other| other.name == *name && other.forbids(found).is_some())
            });
            if !said {
                findings.add(format!(
                    "{name} contains {found}: {chain}. Why not: {why}. What to do: break the chain at its first edge, \
                     in {path}, and {instead}.",
                    name = row.name,
                    chain = chain.join(" -> "),
                    path = graph.manifest(row.name),
                    instead = row.instead,
                ));
            }
        }
    }
    findings.assert_none();
}
