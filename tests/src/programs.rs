//! The real programs that tests run, as `tests/tools/binaries` builds them.

use std::path::PathBuf;
use std::process::Command;

use crate::tree::root;

/// The directory of all programs, or nothing after having said aloud what is missing.
///
/// # Panics
///
/// With `CI` set, when one is missing: a skipped test never looks like a passed one where it counts.
#[must_use]
pub fn all_or_skip() -> Option<PathBuf> {
    match find(&["all"]) {
        Ok(directory) => Some(directory),
        Err(missing) if std::env::var_os("CI").is_some() => panic!("{missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

/// The directory of the programs of a set: `[]` for a control plane, `["all"]` for everything.
///
/// # Errors
///
/// When one has not been built; the message has the command that builds it.
pub fn find(set: &[&str]) -> Result<PathBuf, String> {
    let found = Command::new(root().join("tests/tools/binaries")).arg("--find").args(set).output();
    let found = found.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if found.status.success() { Ok(text(&found.stdout).into()) } else { Err(text(&found.stderr)) }
}
