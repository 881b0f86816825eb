//! Debian's `openconnect`, as its user would type it.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Output};

use crate::served::Served;

/// Whether the client is installed; says aloud when it is not.
///
/// # Panics
///
/// With `CI` set, when it is missing.
pub(crate) fn installed_or_skip() -> bool {
    let version = Command::new("openconnect").arg("--version").output();
    if version.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let missing = "openconnect is not installed (Debian: apt-get install openconnect)";
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    false
}

/// What a client said and how it ended.
pub(crate) struct Said {
    /// Whether it has a session.
    pub(crate) ok: bool,
    /// What scripts read.
    pub(crate) out: String,
    /// What people read.
    pub(crate) err: String,
}

impl Said {
    /// The sealed ticket.
    pub(crate) fn cookie(&self) -> &str {
        self.variable("COOKIE")
    }

    /// A variable of what `--authenticate` prints.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let line = self.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('\'')
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert!(self.ok && !self.cookie().is_empty(), "{}{}", self.out, self.err);
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, text: &str) {
        assert!(!self.ok && self.err.contains(text), "no {text:?} in {}{}", self.out, self.err);
    }
}

/// Logs in without connecting. `path` is that of the address; each line of `typed` is one answer.
pub(crate) fn authenticate(served: &Served, path: &str, arguments: &[&str], typed: &[&str]) -> Said {
    // Without a terminal of its own it asks on standard input.
    let mut command = Command::new("setsid");
    command
        .args(["--wait", "timeout", "120", "openconnect", "--protocol=anyconnect", "--authenticate"])
        .arg(format!("--servercert={}", served.pin))
        .args(arguments)
        .arg(format!("{}{path}", served.address));
    run(served, command, typed)
}

fn run(served: &Served, mut command: Command, typed: &[&str]) -> Said {
    let answers = served.folder().join("typed");
    let mut file = File::create(&answers).expect("a file");
    typed.iter().for_each(|line| writeln!(file, "{line}").expect("it is written"));
    let output = command.stdin(File::open(&answers).expect("the file")).output().expect("it runs");
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { ok: status.success(), out: text(stdout), err: text(stderr) }
}
