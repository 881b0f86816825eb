//! A gateway as one process serves it: the example city in a folder of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::process::Process;
use tidegate_tests::{programs, tree, wait};

/// Longer than a start ever takes.
const START: Duration = Duration::from_secs(60);
/// Longer than it takes until a change of a file is in force.
const SOON: Duration = Duration::from_secs(30);

/// A running `tidegate up`.
pub(crate) struct Served {
    folder: TempDir,
    gateway: Process,
    /// Where people log in.
    pub(crate) address: String,
    /// What clients know it by.
    pub(crate) pin: String,
}

impl Served {
    /// Serves the example on loopback.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        copy(&tree::root().join("examples/haikou"), &folder.path().join("manifests"));
        let tidegate = programs::own("tidegate").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(tidegate);
        command
            .arg("up")
            .arg(folder.path().join("manifests"))
            .arg("--state")
            .arg(folder.path().join("state"))
            .args(["--listen", "127.0.0.1:0", "-o", "json"]);
        let mut gateway = Process::start("tidegate", folder.path(), &mut command).expect("tidegate starts");
        let log = folder.path().join("tidegate.log");
        let serving = wait::until("a gateway that serves", START, || {
            gateway.still_runs()?;
            event(&log, "serving").ok_or_else(|| gateway.log_tail())
        });
        let serving = serving.unwrap_or_else(|error| panic!("{error}"));
        let text = |name: &str| serving[name].as_str().unwrap_or_default().to_owned();
        let (address, pin) = (text("address"), text("pin"));
        Self { folder, gateway, address, pin }
    }

    /// The folder for what a test writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The code with which an account sets its first password.
    pub(crate) fn code(&self, department: &str, name: &str) -> String {
        let file = self.folder.path().join("state/activation").join(department).join(name);
        let read = || fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()));
        let code = wait::until("an activation code", SOON, read).unwrap_or_else(|error| panic!("{error}"));
        code.trim().to_owned()
    }

    /// Suspends an account, and waits until that is in force.
    pub(crate) fn suspend(&self, name: &str) {
        let file = self.folder.path().join("manifests/people.yaml");
        let text = fs::read_to_string(&file).expect("the people");
        let (before, own) = text.split_once(&format!("  name: {name}\n")).expect("somebody of the example");
        let own = own.replacen("state: Active", "state: Suspended", 1);
        let published = self.published();
        fs::write(&file, format!("{before}  name: {name}\n{own}")).expect("it is written");
        let later = || if self.published() > published { Ok(()) } else { Err(self.gateway.log_tail()) };
        wait::until("the suspension in force", SOON, later).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The audit trail as far as it is written.
    pub(crate) fn audit(&self) -> String {
        let files = fs::read_dir(self.folder.path().join("state/audit")).expect("the trail");
        files.map(|file| fs::read_to_string(file.expect("a file").path()).unwrap_or_default()).collect()
    }

    fn published(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().filter(|line| line.contains("\"event\":\"published\"")).count()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("tidegate.log")
    }
}

/// The first event of a name in a log.
fn event(log: &Path, name: &str) -> Option<Value> {
    let log = fs::read_to_string(log).ok()?;
    let mut events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.find(|event| event["event"] == name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the example") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else if target.extension().is_some_and(|extension| extension == "yaml") {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
