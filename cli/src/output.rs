//! Printing, and the exit codes.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

/// How the command ended; documented in `tidegate --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, allowed, whole.
    Done,
    /// It could not be done.
    Failed,
    /// The answer is no.
    No,
    /// `check` found nothing broken, but something to look at.
    Warnings,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::No => Self::from(3),
            Exit::Warnings => Self::from(2),
        }
    }
}

/// Prints a line on standard output; a closed pipe is not our problem.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(error) => failure(&error.into()),
    }
}

/// Prints why it could not be done, with everything known about it, on standard error.
pub(crate) fn failure(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr().lock(), "tidegate: {error:#}");
}
