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
    tool("binaries", &[&["--find"], set].concat()).map(|directory| directory.trim().into())
}

/// One of our own programs, as `cargo build` left it beside this test.
///
/// # Errors
///
/// When it has not been built; the message has the command that builds it.
pub fn own(name: &str) -> Result<PathBuf, String> {
    // A test lies in target/<profile>/deps, programs in the directory above.
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let program =
        test.ancestors().nth(2).map(|profile| profile.join(name)).filter(|program| program.exists());
    program.ok_or_else(|| format!("{name} is not built: run `cargo build --workspace --bins`"))
}

/// Runs a script of `tests/tools`; what it prints.
///
/// # Errors
///
/// When it fails, with what it wrote to standard error.
pub fn tool(name: &str, arguments: &[&str]) -> Result<String, String> {
    run(Command::new(root().join("tests/tools").join(name)).args(arguments))
}

/// Runs a command to its end; what it prints.
///
/// # Errors
///
/// When it fails, with everything it wrote.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }
}
