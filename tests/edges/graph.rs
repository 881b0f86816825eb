//! What is compiled into what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Node, Package, PackageId};
use tidegate_tests::tree::root;

/// The platform of the images we ship.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The resolved graph, without development dependencies.
pub(crate) struct Graph {
    metadata: Metadata,
    edges: BTreeMap<PackageId, BTreeSet<PackageId>>,
}

impl Graph {
    pub(crate) fn read() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .features(CargoOpt::AllFeatures)
            .other_options(vec!["--filter-platform".into(), PLATFORM.into()])
            .exec()
            .expect("cargo metadata");
        let resolve = metadata.resolve.as_ref().expect("a resolved graph");
        let edges = resolve
            .nodes
            .iter()
            .map(|node| {
                let compiled_in = node.deps.iter().filter(|dependency| {
                    dependency.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development)
                        && is_on(&metadata[&node.id], node, &metadata[&dependency.pkg].name)
                });
                (node.id.clone(), compiled_in.map(|dependency| dependency.pkg.clone()).collect())
            })
            .collect();
        Self { metadata, edges }
    }

    /// The names of our crates.
    pub(crate) fn members(&self) -> Vec<&str> {
        self.metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect()
    }

    /// The manifest of one of our crates, from the root.
    pub(crate) fn manifest(&self, member: &str) -> String {
        let path = self.member(member).manifest_path.as_std_path();
        path.strip_prefix(root()).unwrap_or(path).display().to_string()
    }

    /// What one of our crates lists itself; features that are off count too.
    pub(crate) fn direct(&self, member: &str) -> BTreeSet<&str> {
        let listed = self.member(member).dependencies.iter();
        listed
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.as_str())
            .collect()
    }

    /// Everything below one of our crates, each with the shortest chain of names that leads to it.
    pub(crate) fn closure(&self, member: &str) -> Vec<(&str, Vec<&str>)> {
        let start = &self.member(member).id;
        let mut chains: BTreeMap<&PackageId, Vec<&str>> = BTreeMap::from([(start, vec![self.name(start)])]);
        let mut open = VecDeque::from([start]);
        while let Some(user) = open.pop_front() {
            for used in &self.edges[user] {
                if !chains.contains_key(used) {
                    let mut chain = chains[user].clone();
                    chain.push(self.name(used));
                    chains.insert(used, chain);
                    open.push_back(used);
                }
            }
        }
        chains.remove(start);
        chains.into_iter().map(|(id, chain)| (self.name(id), chain)).collect()
    }

    fn member(&self, name: &str) -> &Package {
        let found = self.metadata.workspace_packages().into_iter().find(|package| package.name == name);
        found.unwrap_or_else(|| panic!("no crate is called {name}"))
    }

    fn name(&self, id: &PackageId) -> &str {
        &self.metadata[id].name
    }
}

/// Whether an optional dependency is really there. The lock file, which `cargo metadata` speaks about, also holds those
/// that a feature only mentions in the form `name?/feature`: rustls has ring in it that way.
fn is_on(user: &Package, node: &Node, used: &str) -> bool {
    let listed = user.dependencies.iter().filter(|dependency| dependency.name == used);
    listed.filter(|dependency| dependency.kind != DependencyKind::Development).any(|dependency| {
        let key = dependency.rename.as_deref().unwrap_or(&dependency.name);
        let asks = |value: &String| {
            value.strip_prefix("dep:") == Some(key)
                || value.split_once('/').is_some_and(|(name, _)| name == key)
        };
        let on = |feature: &str| {
            feature == key || user.features.get(feature).is_some_and(|values| values.iter().any(asks))
        };
        !dependency.optional || node.features.iter().any(|feature| on(feature))
    })
}
