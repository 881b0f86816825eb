//! A folder of manifests as a source of objects.
//!
//! ```text
//!  disk --inotify--> watcher --scan--> reader: which files settled? --yaml--> documents with marks
//!                                      documents of one object --merge--> Found, with its Places
//!                                      everything ----------------------> Reading
//! ```
//!
//! The rules, all of them about what a person editing a folder may expect:
//!
//! - A change counts once the file was left alone for [`SETTLE`], and so does a file's absence: an
//!   editor that replaces a file by renaming is never seen without it. Changes of several files that
//!   are made together count together.
//! - A file that is not YAML, or cannot be read, keeps every object last seen in it.
//! - Documents of one object are merged if they set different fields; that is how an approval can lie
//!   in the approver's own file.
//! - Symbolic links are followed; what changes only at their far end is noticed within seconds, everything
//!   else at once.
//! - Namespaces are ignored, ConfigMaps are read, anything else is a problem.
//!
//! What an object means, and whether it may mean it, is not decided here but in [`crate::intake`].

mod excerpt;
mod merge;
mod places;
mod reader;
mod tree;
mod watcher;
mod yaml;

use std::time::Duration;

pub use excerpt::Excerpt;
pub use places::{Mark, Places};
pub use reader::{FolderError, FolderReader, Scan};
pub use watcher::{Watcher, watch};
pub use yaml::{Document, Fault, read_documents};

/// How long a file must be left alone before its change counts.
pub const SETTLE: Duration = Duration::from_millis(200);

/// How long a settled change waits for other files that are still being written.
pub const TOGETHER: Duration = Duration::from_millis(300);

/// Largest file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most bytes in all files together.
pub const FOLDER_BYTES_MAX: u64 = 512 << 20;

/// Most files.
pub const FILES_MAX: usize = 20_000;

/// Most objects.
pub const OBJECTS_MAX: usize = 200_000;

/// Deepest folder below the one that is read.
pub const FOLDER_DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests;
