//! The demo's temporary folder: `manifests` to edit, `state` beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::temporary::Temporary;

/// The files of `examples/haikou`: name and content.
const EXAMPLE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/example.rs"));

/// The folder of one demo.
pub(crate) struct Folder {
    temporary: Temporary,
}

impl Folder {
    /// Makes a fresh folder with the example in it.
    pub(crate) fn make(keep: bool) -> Result<Self> {
        let folder = Self { temporary: Temporary::make("demo", keep)? };
        for (name, content) in EXAMPLE {
            let file = folder.manifests().join(name);
            let parent = file.parent().unwrap_or(folder.root());
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&file, content))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(folder)
    }

    /// Where everything lies.
    pub(crate) fn root(&self) -> &Path {
        self.temporary.path()
    }

    /// The manifests, for editing.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.root().join("manifests")
    }

    /// The state.
    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// The manifest in which the request of the person called `name` stands.
    pub(crate) fn file_of(&self, name: &str) -> Option<PathBuf> {
        EXAMPLE
            .iter()
            .find(|(_, content)| content.split("\n---").any(|document| is_request_of(document, name)))
            .map(|(file, _)| self.manifests().join(file))
    }
}

/// Whether a document is the request of the VpnUser `name`; approvals lie in files of their own.
fn is_request_of(document: &str, name: &str) -> bool {
    let says = |what: &str| {
        document.lines().any(|line| {
            let line = line.trim_start();
            line.strip_prefix(what).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',', '}']))
        })
    };
    let named = says(&format!("name: {name}"))
        || document.contains(&format!("{{name: {name},"))
        || document.contains(&format!("{{ name: {name},"));
    says("kind: VpnUser") && named && says("request:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_found_and_not_the_approval() {
        let request =
            "kind: VpnUser\nmetadata:\n  name: wangfang\n  namespace: dept-sbj\nspec:\n  request:\n";
        assert!(is_request_of(request, "wangfang"));
        assert!(!is_request_of(request, "wang"));
        assert!(is_request_of(
            "kind: VpnUser\nmetadata: {name: li, namespace: x}\nspec:\n  request:\n",
            "li"
        ));
        assert!(!is_request_of(
            "kind: VpnUser\nmetadata:\n  name: wangfang\nspec:\n  approval:\n",
            "wangfang"
        ));
    }
}
