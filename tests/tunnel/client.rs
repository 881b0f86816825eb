//! Debian's `openconnect`, as its user would type it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tidegate_tests::process::Process;
use tidegate_tests::wait;

use crate::lab;
use crate::served::Served;

/// Longer than a client takes to connect, or to notice that it is over.
const SOON: Duration = Duration::from_secs(60);

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

/// A client that connects, and stays.
pub(crate) struct Connected {
    process: Process,
    log: PathBuf,
    resolv: PathBuf,
}

impl Connected {
    /// Connects the lab's client with the cookie of a login, through the system's own script.
    pub(crate) fn start(served: &Served, login: &Said, arguments: &[&str]) -> Self {
        let resolv = served.folder().join("resolv.conf");
        fs::write(&resolv, "nameserver 192.0.2.1\n").expect("a list of name servers");
        let mut command = lab::at_client(&resolv, "openconnect");
        command
            .args(["--protocol=anyconnect", "--no-dtls", "--interface=tun0", "--timestamp", "--verbose"])
            .arg(format!("--cookie={}", login.cookie()))
            .arg(format!("--servercert={}", served.pin))
            .arg(format!("--resolve={}:{}", lab::HOST, lab::GATEWAY))
            .args(arguments)
            .arg(&served.address);
        let process = Process::start("client", served.folder(), &mut command).expect("openconnect starts");
        Self { process, log: served.folder().join("client.log"), resolv }
    }

    /// Waits until the system's script has set up the client's network.
    pub(crate) fn wait(&mut self) {
        let up = wait::until("a client that is connected", SOON, || {
            self.process.still_runs()?;
            if self.said().contains("Configured as") && lab::run(&mut route()).1.contains("tun0") {
                Ok(())
            } else {
                Err(self.process.log_tail())
            }
        });
        up.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Everything the client has said.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A command of the client's computer, with the name servers of the tunnel.
    pub(crate) fn command(&self, program: &str) -> Command {
        lab::at_client(&self.resolv, program)
    }

    /// Sends the client a signal, as for `kill`.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the client has ended by itself: its last words.
    pub(crate) fn ended(&mut self) -> String {
        self.ended_within(SOON)
    }

    /// The same for an end that takes its time.
    pub(crate) fn ended_within(&mut self, deadline: Duration) -> String {
        let ended = wait::until("the end of the client", deadline, || match self.process.still_runs() {
            Ok(()) => Err(self.process.log_tail()),
            Err(_) => Ok(self.said()),
        });
        ended.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn route() -> Command {
    let mut command = Command::new("ip");
    command.args(["-n", "client", "route", "show", "default"]);
    command
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

/// Logs in from the lab's client, without connecting.
pub(crate) fn authenticate_in_lab(served: &Served, arguments: &[&str], typed: &[&str]) -> Said {
    let mut command = lab::at("client", "setsid");
    command
        .args(["--wait", "timeout", "120", "openconnect", "--protocol=anyconnect", "--authenticate"])
        .arg(format!("--servercert={}", served.pin))
        .arg(format!("--resolve={}:{}", lab::HOST, lab::GATEWAY))
        .args(arguments)
        .arg(format!("{}sbj", served.address));
    run(served, command, typed)
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
