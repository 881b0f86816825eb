//! Chromium on the demo: `portal.mjs` beside this file is the story, here is only how it is told.
//!
//! Needs Node, Chromium, the packages of `package-lock.json` (`npm ci` in this folder) and the built
//! `tidegate`. What is missing is said aloud; with `CI` set it is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tidegate_tests::{tree, wait};

/// Longer than the story ever takes; each of its steps has a limit of its own.
const DEADLINE: Duration = Duration::from_secs(240);

#[test]
fn two_people_at_the_portal() {
    let folder = tree::root().join("tests/browser");
    let tidegate = match parts(&folder) {
        Ok(tidegate) => tidegate,
        Err(missing) if std::env::var_os("CI").is_some() => panic!("{missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            return;
        }
    };
    let log = tempfile::NamedTempFile::new().expect("a log file");
    let output = || Stdio::from(log.reopen().expect("the log file again"));
    let mut story = Command::new("node")
        .arg("portal.mjs")
        .arg(tidegate)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .spawn()
        .expect("node was found before");
    let ended = wait::until("the story at the portal", DEADLINE, || match story.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("it goes on".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    if ended.is_err() {
        let _ = story.kill();
        let _ = story.wait();
    }
    let told = std::fs::read(log.path()).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    match ended {
        Ok(status) => assert!(status.success(), "{status}\n{told}"),
        Err(late) => panic!("{late}\n{told}"),
    }
}

/// The command under test, if everything the story needs is there.
fn parts(folder: &Path) -> Result<PathBuf, String> {
    for program in ["node", "chromium"] {
        let found =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!("{program} is not installed (Debian: apt-get install nodejs npm chromium)"));
        }
    }
    if !folder.join("node_modules/playwright-core").exists() {
        return Err("the packages are not installed: run `npm ci` in tests/browser".to_owned());
    }
    // This test lies in target/<profile>/deps, the command beside that folder.
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let tidegate = own.ancestors().nth(2).map(|profile| profile.join("tidegate"));
    tidegate
        .filter(|path| path.exists())
        .ok_or_else(|| "tidegate is not built: run `cargo build -p tidegate-cli`".to_owned())
}
