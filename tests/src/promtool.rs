//! What Prometheus itself has against the metrics a program exposes.

use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};

use crate::programs::run;

/// The program, of Debian's package `prometheus`; `tests/tools/setup` installs it.
const PROMTOOL: &str = "promtool";

/// Has promtool read an exposition; says aloud when there is none to ask.
///
/// # Errors
///
/// When it cannot be read, or breaks a convention, in promtool's words.
///
/// # Panics
///
/// With `CI` set, when promtool is missing: a skipped check never looks like a passed one where it counts.
pub fn check_or_skip(exposition: &str) -> Result<(), String> {
    if let Err(missing) = run(Command::new(PROMTOOL).arg("--version")) {
        let missing = format!("{missing}; run: tests/tools/setup test");
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
    file.write_all(exposition.as_bytes()).and_then(|()| file.rewind()).map_err(|error| error.to_string())?;
    run(Command::new(PROMTOOL).args(["check", "metrics"]).stdin(Stdio::from(file)))
        .map(drop)
        .map_err(|said| format!("{said}in\n{exposition}"))
}
