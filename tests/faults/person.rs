//! One person's browser, which goes to the gateway it is told.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tidegate_tests::tree::root;

use crate::site::{HOST, Site};

/// The passwords people have one after the other; none may hold the name of the account, or be one of the latest five.
const PASSWORDS: [&str; 7] = [
    "Salt-on-the-shutters-26",
    "Kelp-under-the-lantern-31",
    "Brine-behind-the-ladder-12",
    "Driftwood-by-the-harbour-47",
    "Gravel-beside-the-slipway-58",
    "Rope-around-the-bollard-63",
    "Mist-above-the-breakwater-79",
];

/// A person, who remembers cookies and password.
pub(crate) struct Person {
    department: &'static str,
    name: String,
    password: usize,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a browser was shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) status: u64,
    /// A system, `gateway`, `login`, `pending` or `nobody`.
    pub(crate) by: String,
    /// The first code on the page.
    pub(crate) code: String,
    text: String,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.status, self.by, self.code, self.text)
    }
}

impl Shown {
    /// Whether a system answered.
    pub(crate) fn is_served(&self) -> bool {
        self.status == 200 && !["gateway", "login", "pending", "nobody"].contains(&self.by.as_str())
    }

    /// Whether the gateway shows what only somebody who is logged in sees.
    pub(crate) fn is_home(&self) -> bool {
        self.status == 200 && self.by == "gateway" && self.code.is_empty()
    }

    /// Whether a password is on its way.
    pub(crate) fn is_pending(&self) -> bool {
        self.by == "pending"
    }
}

impl Person {
    /// A browser without cookies.
    pub(crate) fn new(site: &Site, department: &'static str, name: &str) -> Self {
        let mut child = Command::new("python3")
            .arg(root().join("tests/faults/people.py"))
            .arg(site.authority())
            .arg(HOST)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("python3: {error}"));
        let (questions, answers) =
            (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let answers = BufReader::new(answers);
        Self { department, name: name.to_owned(), password: 0, child, questions, answers }
    }

    fn ask(&mut self, at: u16, mut command: Value) -> Shown {
        command["at"] = json!(["127.0.0.1", at]);
        let mut line = String::new();
        let asked = writeln!(self.questions, "{command}").and_then(|()| self.answers.read_line(&mut line));
        asked.unwrap_or_else(|error| panic!("{}'s browser: {error}", self.name));
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        let status = said["status"].as_u64().unwrap_or_default();
        Shown { status, by: text("by"), code: text("code"), text: text("text") }
    }

    /// Sets the first password.
    pub(crate) fn activate(&mut self, at: u16, code: &str) -> Shown {
        let (department, user, password) = (self.department, &self.name, PASSWORDS[self.password]);
        let command = json!({"do": "activate", "department": department, "user": user, "code": code,
            "password": password});
        self.ask(at, command)
    }

    /// Logs in.
    pub(crate) fn login(&mut self, at: u16) -> Shown {
        let (department, user, password) = (self.department, &self.name, PASSWORDS[self.password]);
        self.ask(at, json!({"do": "login", "department": department, "user": user, "password": password}))
    }

    /// Opens a system.
    pub(crate) fn open(&mut self, at: u16, system: &str) -> Shown {
        self.ask(at, json!({"do": "open", "system": system}))
    }

    /// Asks for another password, and remembers it only when it was taken.
    pub(crate) fn change(&mut self, at: u16) -> Shown {
        let next = (self.password + 1) % PASSWORDS.len();
        let (old, new) = (PASSWORDS[self.password], PASSWORDS[next]);
        let shown = self.ask(at, json!({"do": "change", "old": old, "new": new}));
        if shown.is_home() || shown.is_pending() {
            self.password = next;
        }
        shown
    }

    /// Looks again at what was pending.
    pub(crate) fn wait(&mut self, at: u16) -> Shown {
        self.ask(at, json!({"do": "wait"}))
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
