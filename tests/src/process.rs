//! Programs that end with the test.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::programs;

/// How much of a log is worth showing.
const TAIL: usize = 2_000;

/// A running program; dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program whose output goes to `<name>.log` in a directory.
    ///
    /// # Errors
    ///
    /// When the program or its log cannot be opened.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> io::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Whether it has ended by itself, and with which words.
    ///
    /// # Errors
    ///
    /// When it has ended; the message has the end of its log.
    pub fn still_runs(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended ({status}):\n{}", self.name, self.log_tail())),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, named as for `kill`: `-TERM`, `-KILL`, `-STOP`, `-CONT`.
    ///
    /// # Errors
    ///
    /// When there is no such process any more.
    pub fn signal(&self, signal: &str) -> Result<(), String> {
        programs::run(Command::new("kill").args([signal, &self.child.id().to_string()])).map(drop)
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill and the status is at hand.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
