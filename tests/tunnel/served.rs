//! A gateway as one process serves it: the example city in a folder of the test's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::process::Process;
use tidegate_tests::{programs, tree, wait};

use crate::lab;

/// Longer than a start ever takes.
const START: Duration = Duration::from_secs(60);
/// Longer than it takes until a change of a file is in force.
const SOON: Duration = Duration::from_secs(30);

/// The user the lab's gateway runs as.
const NOBODY: u32 = 65_534;

/// What the example city has in the lab beside its own: a system that is reached through the tunnel only.
const LAB: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Resource
metadata: {name: line, namespace: dept-sbj}
spec:
  names: {zh-CN: 专线测试, en: Line}
  network: {hosts: [10.20.1.30], ports: [80, 5201]}
---
apiVersion: tidegate.dev/v1alpha1
kind: AccessPolicy
metadata: {name: line, namespace: dept-sbj}
spec:
  target: {resources: {names: [line]}}
  rules: [{name: clerks, effect: Allow, match: {groups: [clerks]}}]
";

/// A running `tidegate up`.
pub(crate) struct Served {
    folder: TempDir,
    gateway: Process,
    launch: Box<dyn Fn() -> Command>,
    /// Where people log in.
    pub(crate) address: String,
    /// What clients know it by.
    pub(crate) pin: String,
}

impl Served {
    /// Serves the example on loopback.
    pub(crate) fn start() -> Self {
        Self::with(|_| (), |_, tidegate| Command::new(tidegate), ["127.0.0.1:0", "localhost"])
    }

    /// Serves the example and the lab's own systems in the lab, without any privilege.
    pub(crate) fn start_in_lab() -> Self {
        let prepare = |folder: &Path| {
            fs::write(folder.join("manifests/lab.yaml"), LAB).expect("the lab's systems");
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(folder, open).expect("a folder the gateway may look into");
            let state = folder.join("state");
            fs::create_dir(&state).expect("a state");
            chown(&state, Some(NOBODY), Some(NOBODY)).expect("its own state");
        };
        let command = |folder: &Path, tidegate: &Path| {
            // Whoever gives up what root has may not see where it was built.
            let program = folder.join("tidegate");
            if !program.exists() {
                fs::write(&program, "").expect("a place for the program");
                programs::run(Command::new("mount").arg("--bind").arg(tidegate).arg(&program))
                    .expect("a mount");
            }
            lab::unprivileged("gateway", &program)
        };
        Self::with(prepare, command, ["[::]:8443", lab::HOST])
    }

    fn with(
        prepare: impl FnOnce(&Path),
        command: impl Fn(&Path, &Path) -> Command + 'static,
        [listen, host]: [&'static str; 2],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let manifests = folder.path().join("manifests");
        copy(&tree::root().join("examples/haikou"), &manifests);
        prepare(folder.path());
        let tidegate = programs::own("tidegate").unwrap_or_else(|error| panic!("{error}"));
        let root = folder.path().to_owned();
        let launch = Box::new(move || {
            let mut command = command(&root, &tidegate);
            command.arg("up").arg(&manifests).arg("--state").arg(root.join("state"));
            command.args(["--listen", listen, "--host", host, "-o", "json"]);
            command
        });
        let (gateway, serving) = serve(folder.path(), launch());
        let text = |name: &str| serving[name].as_str().unwrap_or_default().to_owned();
        let (address, pin) = (text("address"), text("pin"));
        Self { folder, gateway, launch, address, pin }
    }

    /// Kills the gateway as a crash would, and starts it again.
    pub(crate) fn crash(&mut self) {
        self.gateway.signal("-KILL").unwrap_or_else(|error| panic!("{error}"));
        let over = || if self.gateway.still_runs().is_err() { Ok(()) } else { Err("it runs".to_owned()) };
        wait::until("the end of the gateway", SOON, over).unwrap_or_else(|error| panic!("{error}"));
        let (gateway, serving) = serve(self.folder.path(), (self.launch)());
        assert_eq!(serving["pin"], self.pin.as_str(), "the key stays");
        self.gateway = gateway;
    }

    /// Asks `tidegate` about the running gateway.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let tidegate = programs::own("tidegate").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(tidegate);
        command.args(arguments).arg("--state").arg(self.folder.path().join("state")).args(["-o", "json"]);
        let said = programs::run(&mut command).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
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
        self.edit("people.yaml", &format!("  name: {name}\n"), "state: Active", "state: Suspended");
    }

    /// Changes the first `from` behind `mark` in a manifest, and waits until that is in force.
    pub(crate) fn edit(&self, file: &str, mark: &str, from: &str, to: &str) {
        let file = self.folder.path().join("manifests").join(file);
        let text = fs::read_to_string(&file).expect("a manifest");
        let (before, own) = text.split_once(mark).expect("what is to be changed");
        assert!(own.contains(from), "no {from:?} behind {mark:?}");
        let published = self.published();
        fs::write(&file, format!("{before}{mark}{}", own.replacen(from, to, 1))).expect("it is written");
        let later = || if self.published() > published { Ok(()) } else { Err(self.gateway.log_tail()) };
        wait::until("the change in force", SOON, later).unwrap_or_else(|error| panic!("{error}"));
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

/// Starts a gateway: its process, and what it says when it serves.
fn serve(folder: &Path, mut command: Command) -> (Process, Value) {
    let mut gateway = Process::start("tidegate", folder, &mut command).expect("tidegate starts");
    let log = folder.join("tidegate.log");
    let serving = wait::until("a gateway that serves", START, || {
        gateway.still_runs()?;
        event(&log, "serving").ok_or_else(|| gateway.log_tail())
    });
    (gateway, serving.unwrap_or_else(|error| panic!("{error}")))
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
