//! A folder that disappears with the value that made it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

/// Names tried before giving up.
const ATTEMPTS: u32 = 16;

/// A folder for its owner alone, removed on drop unless it is to be kept.
pub(crate) struct Temporary {
    root: PathBuf,
    keep: bool,
}

impl Temporary {
    /// Makes a fresh folder whose name says what it is for.
    pub(crate) fn make(purpose: &str, keep: bool) -> Result<Self> {
        let base = std::env::temp_dir();
        for attempt in 0..ATTEMPTS {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            let name = format!("tidegate-{purpose}-{}-{:x}", std::process::id(), now.wrapping_add(attempt));
            let root = base.join(name);
            match DirBuilder::new().mode(0o700).create(&root) {
                Ok(()) => return Ok(Self { root, keep }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", root.display())),
            }
        }
        bail!("no free name for a folder in {}", base.display())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            tracing::warn!(folder = %self.root.display(), %error, "a temporary folder is left behind");
        }
    }
}
