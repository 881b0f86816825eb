//! A `tidegate` process: its lines, its signals, its end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing a test waits for takes this long, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Lines that may wait to be read; a process that prints more waits itself.
const LINES_MAX: usize = 10_000;

/// A process whose standard output is read as it comes.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

/// A command that writes nothing outside `temporary`.
pub(crate) fn tidegate(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .env("TMPDIR", temporary)
        .env("XDG_STATE_HOME", temporary.join("state-home"))
        .env("LC_ALL", "C.UTF-8")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let (line, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).all(|text| line.send(text).is_ok())
        });
        let (all, errors) = sync_channel(1);
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(err).read_to_string(&mut text);
            let _ = all.send(text);
        });
        Self { child, lines, errors }
    }

    /// The next line as JSON.
    pub(crate) fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// The next line.
    pub(crate) fn line(&self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line in time"),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("it ended: {}", self.errors.recv_timeout(DEADLINE).unwrap_or_default())
            }
        }
    }

    /// The next line with this `event`; others are passed over.
    pub(crate) fn event(&self, event: &str) -> Value {
        self.event_with(event, |_| true)
    }

    /// The next line with this `event` of which `wanted` holds.
    pub(crate) fn event_with(&self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.json();
            if value["event"] == event && wanted(&value) {
                return value;
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits for the end; gives status, the lines not yet read, and standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        let deadline = Instant::now() + DEADLINE;
        let mut left = Vec::new();
        // The pipe closes with the process, so waiting for it is waiting for the end.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => left.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        let status = self.child.wait().expect("a status");
        (status, left, self.errors.recv_timeout(DEADLINE).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone in most cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
