//! People at the gateways, and the systems they open.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::node::Node;
use tidegate_tests::tree::root;
use tidegate_tests::wait;

/// The systems of the example: name, department, address.
const SYSTEMS: [(&str, &str, &str); 5] = [
    ("records", "sbj", "10.20.1.10"),
    ("archive", "sbj", "10.20.1.11"),
    ("fund", "sbj", "10.20.1.12"),
    ("exchange", "rsj", "10.20.2.10"),
    ("analysis", "rsj", "10.20.2.11"),
];

/// Everybody's password; it may not hold the name of the account.
const PASSWORD: &str = "Salt-on-the-shutters-26";

/// How long the Service may take to follow.
const MOMENT: Duration = Duration::from_secs(15);

/// Starts the systems, each at the address its owner published.
pub(crate) fn serve_systems(node: &mut Node) {
    let mut command = node.place().command("python3");
    command.arg(root().join("tests/cluster/systems.py"));
    for (name, department, address) in SYSTEMS {
        node.add_address(address).unwrap_or_else(|error| panic!("{error}"));
        command.arg(format!("{name}-{department}={address}:8080"));
    }
    node.run_beside("systems", &mut command).unwrap_or_else(|error| panic!("{error}"));
}

/// One person's browser.
pub(crate) struct Person<'a> {
    node: &'a Node,
    department: &'static str,
    name: &'static str,
    arguments: [PathBuf; 3],
}

impl<'a> Person<'a> {
    /// A browser that trusts an authority and finds the gateways at an address.
    pub(crate) fn new(
        node: &'a Node,
        department: &'static str,
        name: &'static str,
        authority: &str,
        address: &str,
    ) -> Self {
        let jar = node.plane().files().join(format!("{department}-{name}.browser"));
        Self { node, department, name, arguments: [jar, authority.into(), address.into()] }
    }

    /// Sets the first password with a code.
    pub(crate) fn activate(&self, code: &str) {
        self.run(&["activate", self.department, self.name, code, PASSWORD]);
    }

    /// Logs in, and returns what came back: a status and who answered.
    pub(crate) fn login(&self) -> String {
        // A Service knows about pods that have just become ready a moment later than whoever waited for them.
        let arguments = ["login", self.department, self.name, PASSWORD];
        let login = wait::until("somebody answers", MOMENT, || self.try_run(&arguments));
        login.unwrap_or_else(|error| panic!("{error}\n{}", self.node.describe()))
    }

    /// Opens a system, and returns a status and who answered.
    pub(crate) fn open(&self, method: &str, system: &str) -> String {
        self.run(&["open", method, system])
    }

    /// Works with a system until [`Work::finish`].
    pub(crate) fn work(&self, system: &str) -> Work {
        let child = self.command(&["work", system]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Work(child.unwrap_or_else(|error| panic!("{error}")))
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|error| panic!("{error}\n{}", self.node.describe()))
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let printed = self.node.plane().run(&mut self.command(arguments), "");
        let who = format!("{}/{} {arguments:?}", self.department, self.name);
        printed.map(|printed| printed.trim().to_owned()).map_err(|error| format!("{who}: {error}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.place().command("python3");
        command.arg(root().join("tests/cluster/person.py")).args(&self.arguments).args(arguments);
        command
    }
}

/// Somebody at work.
pub(crate) struct Work(Child);

impl Work {
    /// Ends the work, and returns how it went.
    pub(crate) fn finish(mut self) -> Value {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let output = self.0.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_slice(&output.stdout).expect("a JSON object about the work")
    }
}
