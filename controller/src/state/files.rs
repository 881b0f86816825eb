//! Private files, replaced in one step.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tidegate_core::Code;

use super::StateError;

/// Suffix of a file that is being written; one left behind by a crash is removed at start.
const TEMPORARY: &str = "tmp";

/// Threads that write together.
const WRITERS: usize = 32;

/// Makes a directory only its owner can enter, and takes others' rights from an existing one.
pub(super) fn make_private_directory(path: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StateError::io("make", path, &error))?;
    let metadata = fs::metadata(path).map_err(|error| StateError::io("look at", path, &error))?;
    if !metadata.is_dir() {
        return Err(StateError::new(
            Code::StateUnusable,
            path,
            "it is not a directory",
            "move that file away, or name another directory with --state",
        ));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(|error| StateError::io("protect", path, &error))?;
    }
    Ok(())
}

/// Opens, making it if need be, a file only its owner can read; the content stays.
pub(super) fn open_private(path: &Path) -> Result<File, StateError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StateError::io("open", path, &error))
}

/// Writes a new private file and waits until the disk has it.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    write_private(path, bytes)
        .and_then(|file| file.sync_all())
        .map_err(|error| StateError::io("write", path, &error))
}

/// Replaces a file: afterwards, and after a power cut at any point, it is the old or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    replace_name(path, bytes)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Replaces many files, each in one step as [`replace`] does, waiting for the disk together: a file
/// system that is asked by several threads at once answers them with one write of its journal. Gives
/// one outcome per file, in order.
pub(super) fn replace_many(files: &[(PathBuf, Vec<u8>)]) -> Vec<Result<(), StateError>> {
    let share = files.len().div_ceil(WRITERS).max(1);
    let mut outcomes: Vec<Result<(), StateError>> = std::thread::scope(|scope| {
        let writers: Vec<_> = files
            .chunks(share)
            .map(|files| {
                let write =
                    || files.iter().map(|(path, bytes)| replace_name(path, bytes)).collect::<Vec<_>>();
                (files, std::thread::Builder::new().spawn_scoped(scope, write), write)
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|(files, writer, write)| match writer.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(outcomes)) => outcomes,
                // No thread to be had: then one after the other.
                Err(_) => write(),
                Ok(Err(_)) => {
                    let what = "cannot write it: the writer failed";
                    let fix = "look at the log";
                    let failed =
                        |(path, _): &(PathBuf, _)| Err(StateError::new(Code::StateUnusable, path, what, fix));
                    files.iter().map(failed).collect()
                }
            })
            .collect()
    });
    let directories: BTreeSet<&Path> = files.iter().filter_map(|(path, _)| path.parent()).collect();
    for directory in directories {
        if let Err(error) = sync_directory(directory) {
            // Whether the names reached the disk is unknown, so none of them counts as written.
            for ((path, _), outcome) in files.iter().zip(&mut outcomes) {
                if path.parent() == Some(directory) {
                    *outcome = Err(error.clone());
                }
            }
        }
    }
    outcomes
}

/// Replaces a file, all but making sure that the directory's new entry is on the disk.
fn replace_name(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = prepare(path)?;
    write_synced(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(|error| StateError::io("replace", path, &error))
}

/// Replaces a file in one step, without waiting for the disk: for what can be made again.
pub(super) fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = prepare(path)?;
    write_private(&temporary, bytes).map_err(|error| StateError::io("write", &temporary, &error))?;
    fs::rename(&temporary, path).map_err(|error| StateError::io("replace", path, &error))
}

/// Makes the directory of a file and names the file's temporary sibling.
fn prepare(path: &Path) -> Result<PathBuf, StateError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.is_dir() {
        make_private_directory(directory)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    Ok(path.with_file_name(name))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Removes a file if it is there, and waits until the disk knows.
pub(super) fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(path.parent().unwrap_or(Path::new("."))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StateError::io("remove", path, &error)),
    }
}

/// Reads a whole file of at most `most` bytes; `None` when there is none.
pub(super) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| StateError::io("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(StateError::corrupt(path, format!("it is larger than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// All finished files below `relative`, as paths relative to `root`, sorted.
pub(super) fn list(root: &Path, relative: &Path) -> Result<Vec<PathBuf>, StateError> {
    let mut found = Vec::new();
    let mut open = vec![relative.to_owned()];
    while let Some(directory) = open.pop() {
        let absolute = root.join(&directory);
        let entries = match fs::read_dir(&absolute) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(StateError::io("list", &absolute, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| StateError::io("list", &absolute, &error))?;
            let kind = entry.file_type().map_err(|error| StateError::io("list", &absolute, &error))?;
            let path = directory.join(entry.file_name());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && path.extension().is_none_or(|suffix| suffix != TEMPORARY) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what a crash left half written.
pub(super) fn remove_leftovers(root: &Path) -> Result<(), StateError> {
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| StateError::io("list", &directory, &error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() && path.extension().is_some_and(|suffix| suffix == TEMPORARY) => {
                    remove(&path)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), StateError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StateError::io("sync", path, &error))
}
