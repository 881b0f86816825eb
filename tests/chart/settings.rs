//! The settings file that the chart renders is one that the controller reads.

use std::fs;
use std::process::Command;

use tidegate_tests::helm::Helm;
use tidegate_tests::programs::{self, run};

use crate::{GOLDEN, documents, template};

#[test]
fn the_controller_reads_what_the_chart_renders() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let Some(program) = beside("tidegate-controller") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("controller.yaml");
    let nowhere = directory.path().join("nowhere");
    // It gets as far as the cluster, which is not there; a file it cannot use ends it before.
    let said = |settings: &str| {
        fs::write(&file, settings).expect("a file");
        let mut command = Command::new(&program);
        run(command.arg("--config").arg(&file).arg("--kubeconfig").arg(&nowhere)).expect_err("no cluster")
    };
    for (name, values) in GOLDEN {
        let all = documents(&template(&helm, values));
        let settings = all.iter().find_map(|object| object["data"]["controller.yaml"].as_str());
        let error = said(settings.unwrap_or_else(|| panic!("{name} has no settings")));
        assert!(error.contains("nowhere"), "{name}: {error}");
    }
    let error = said("unknown: 1");
    assert!(error.contains("unknown field"), "{error}");
}

/// A program of ours that was built with this test, or nothing after having said that it was not.
///
/// # Panics
///
/// With `CI` set, when it was not.
pub(crate) fn beside(name: &str) -> Option<std::path::PathBuf> {
    match programs::own(name) {
        Ok(program) => Some(program),
        Err(missing) => {
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}
