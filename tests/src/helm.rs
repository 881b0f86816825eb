//! The chart as Helm renders it, by both versions people have.

use std::path::PathBuf;
use std::process::Command;

use crate::programs::{self, run};
use crate::tree::root;

/// The namespace tests install into.
pub const NAMESPACE: &str = "tidegate-system";

/// The oldest Kubernetes the chart is for; Helm 3 assumes a much older one when nobody tells it.
const KUBERNETES: &str = "1.33.0";

/// One version of Helm.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// Helm 4 and Helm 3, or nothing after having said aloud what is missing.
    ///
    /// # Panics
    ///
    /// With `CI` set, when one is missing.
    #[must_use]
    pub fn both_or_skip() -> Option<[Self; 2]> {
        let binaries = programs::all_or_skip()?;
        Some(["helm", "helm3"].map(|name| Self { program: binaries.join(name) }))
    }

    /// Which one it is.
    #[must_use]
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The chart's objects under these values, each written `key=value`, and further flags.
    ///
    /// # Errors
    ///
    /// When Helm refuses, with its words.
    pub fn template(&self, values: &[&str], flags: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(["template", "tidegate"]).arg(root().join("charts/tidegate"));
        command.args(["--namespace", NAMESPACE, "--kube-version", KUBERNETES]).args(flags);
        for value in values {
            command.args(["--set-json", value]);
        }
        run(&mut command)
    }

    /// What Helm has against the chart; nothing when it is in order.
    ///
    /// # Errors
    ///
    /// When it has something against it, in its words.
    pub fn lint(&self) -> Result<String, String> {
        run(Command::new(&self.program).args(["lint", "--strict"]).arg(root().join("charts/tidegate")))
    }
}
