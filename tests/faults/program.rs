//! A program that is killed and started again, with a log of its own for each run.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::process::Process;

/// A program, whether it runs at the moment or not.
pub(crate) struct Program {
    pub(crate) name: String,
    files: PathBuf,
    command: Box<dyn Fn() -> Command + Send>,
    runs: u32,
    process: Option<Process>,
}

impl Program {
    /// One that is not started yet; its logs go to a folder.
    pub(crate) fn new(name: &str, files: &Path, command: impl Fn() -> Command + Send + 'static) -> Self {
        let (name, files) = (name.to_owned(), files.to_owned());
        Self { name, files, command: Box::new(command), runs: 0, process: None }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.runs += 1;
        let name = format!("{}-{}", self.name, self.runs);
        let started = Process::start(&name, &self.files, &mut (self.command)());
        self.process = Some(started.unwrap_or_else(|error| panic!("{error}")));
    }

    /// Kills it as the kernel would.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Whether it runs: it was started and has not been killed since.
    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Asserts that it has not ended by itself.
    pub(crate) fn still_runs(&mut self) {
        if let Some(process) = &mut self.process {
            process.still_runs().unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// The logs of all its runs, in order.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        (1..=self.runs).map(|run| self.files.join(format!("{}-{run}.log", self.name))).collect()
    }
}
