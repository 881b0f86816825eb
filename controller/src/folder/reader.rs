//! Reads the folder: which changes count by now, and what all files together say.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tidegate_core::Code;

use super::places::Places;
use super::tree::{self, Signature, Tree};
use super::yaml::read_documents;
use super::{FILE_BYTES_MAX, OBJECTS_MAX, SETTLE, TOGETHER, merge};
use crate::events::Problem;
use crate::intake::{ConfigMaps, Found, Reading, Written};
use crate::objects::{ObjectKey, ObjectKind};

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {source}; name a folder of manifests that this user may read", folder.display())]
pub struct FolderError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

impl FolderError {
    pub(super) fn new(folder: &Path, source: io::Error) -> Self {
        Self { folder: folder.to_owned(), source }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::FolderUnreadable
    }
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct Scan {
    /// What the folder says, if that is different from before.
    pub reading: Option<Arc<Reading>>,
    /// When to scan again without being told of a change: some file has not settled.
    pub again: Option<Duration>,
}

/// A folder, and what its files said when they last counted.
#[derive(Debug)]
pub struct FolderReader {
    root: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// What is wrong with the folder as a whole.
    trouble: Vec<Problem>,
    /// What was assembled last: the next reading shares with it what is equal.
    before: Reading,
    read_once: bool,
}

#[derive(Debug, Default)]
struct File {
    /// The state that counts; `None` for a file that does not exist yet.
    counted: Option<Signature>,
    content: Content,
    /// A different state (`None`: gone), and since when it is known.
    pending: Option<(Option<Signature>, SystemTime)>,
}

#[derive(Debug, Default)]
struct Content {
    objects: Vec<(ObjectKey, Arc<Places>)>,
    config_maps: ConfigMaps,
    problems: Vec<Problem>,
}

impl FolderReader {
    /// A reader of a folder that nothing was read from yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            files: BTreeMap::new(),
            trouble: Vec::new(),
            before: Reading::default(),
            read_once: false,
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at the folder at `now`. An error is an outage, never a deletion: what was read stays.
    pub fn scan(&mut self, now: SystemTime) -> Result<Scan, FolderError> {
        let tree = tree::list(&self.root).map_err(|error| FolderError::new(&self.root, error))?;
        let trouble: Vec<Problem> =
            tree.unreadable.iter().map(|(path, error)| unreadable(path, error)).collect();
        self.note(&tree, now);
        let (settled, again) = self.settled(now);
        let mut changed = !settled.is_empty() || trouble != self.trouble || !self.read_once;
        self.trouble = trouble;
        for path in settled {
            self.count(&path, now);
        }
        if again.is_some() && !self.read_once {
            // The first reading waits until every file counts.
            changed = false;
        }
        if changed {
            self.read_once = true;
        }
        Ok(Scan { reading: changed.then(|| Arc::new(self.assemble())), again })
    }

    /// The first reading without the files that are still being written.
    pub(super) fn settle_for_what_there_is(&mut self) -> Arc<Reading> {
        self.read_once = true;
        Arc::new(self.assemble())
    }

    /// The last reading again.
    pub(super) fn again(&mut self) -> Reading {
        self.assemble()
    }

    /// The last reading again, with a problem that keeps the folder from being read now.
    #[must_use]
    pub fn troubled(&mut self, error: &FolderError) -> Reading {
        let mut reading = self.assemble();
        reading.problems.push(Problem {
            code: error.code().id(),
            object: String::new(),
            origin: String::new(),
            message: format!("{error}; everything stays in force as last read"),
        });
        reading
    }

    /// Compares what is there with what counts.
    fn note(&mut self, tree: &Tree, now: SystemTime) {
        for (path, seen) in &tree.files {
            let file = self.files.entry(path.clone()).or_default();
            // What was written long ago has settled, however lately it was moved here.
            let since = seen.modified.filter(|modified| *modified <= now).unwrap_or(now);
            file.note(Some(seen.signature), since, now);
        }
        let hidden = |path: &Path| tree.unreadable.iter().any(|(folder, _)| path.starts_with(folder));
        for (path, file) in &mut self.files {
            if !tree.files.contains_key(path) && !hidden(path) {
                file.note(None, now, now);
            }
        }
    }

    /// The files whose change counts now, and when to look again at the others.
    fn settled(&self, now: SystemTime) -> (Vec<PathBuf>, Option<Duration>) {
        let mut settled = Vec::new();
        let mut wait: Option<Duration> = None;
        let mut overdue = Duration::ZERO;
        for (path, file) in &self.files {
            let Some((_, since)) = file.pending else { continue };
            let age = now.duration_since(since).unwrap_or_default();
            match SETTLE.checked_sub(age).filter(|left| !left.is_zero()) {
                Some(left) => wait = Some(wait.map_or(left, |wait| wait.min(left))),
                None => {
                    overdue = overdue.max(age.saturating_sub(SETTLE));
                    settled.push(path.clone());
                }
            }
        }
        if let Some(wait) = wait
            && self.read_once
            && overdue < TOGETHER
        {
            // Others are being written: let all of it count together, within bounds.
            let left = TOGETHER.saturating_sub(overdue);
            let soon = if settled.is_empty() { wait } else { wait.min(left) };
            return (Vec::new(), Some(soon));
        }
        (settled, wait)
    }

    /// Lets a file's present state count.
    fn count(&mut self, path: &Path, now: SystemTime) {
        let Some(file) = self.files.get_mut(path) else { return };
        let Some((Some(expected), _)) = file.pending else {
            self.files.remove(path);
            return;
        };
        match tree::read(path) {
            Ok(Some((bytes, signature))) if signature == expected => {
                file.pending = None;
                file.counted = Some(signature);
                file.take(path, &bytes);
            }
            // It changed again, so it has to settle again.
            Ok(_) => file.pending = Some((Some(expected), now)),
            // Gone since it was listed: the next scan sees that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                file.pending = None;
                file.counted = Some(expected);
                file.content.problems = vec![unreadable(path, &error)];
            }
        }
    }

    fn assemble(&mut self) -> Reading {
        let mut problems = self.trouble.clone();
        let mut fragments: BTreeMap<&ObjectKey, Vec<Arc<Places>>> = BTreeMap::new();
        let mut config_maps = ConfigMaps::new();
        for file in self.files.values() {
            problems.extend(file.content.problems.iter().cloned());
            config_maps.extend(file.content.config_maps.clone());
            for (key, places) in &file.content.objects {
                if fragments.len() >= OBJECTS_MAX && !fragments.contains_key(key) {
                    let message = format!("there are more than {OBJECTS_MAX} objects; this one is left out");
                    let origin = places.at("");
                    problems.push(problem(Code::FileTooLarge, Some(key), origin, message));
                    break;
                }
                fragments.entry(key).or_default().push(Arc::clone(places));
            }
        }
        let merged = fragments.into_iter().map(|(key, fragments)| {
            let (places, mut violations) = merge::merge(&fragments);
            violations.extend(tidegate_crd::cluster_only(key.kind, places.value()));
            let written = Written::Tree(Arc::clone(places.value()));
            let found = Found { written, violations, places: Some(places), ..Found::default() };
            (key.clone(), found)
        });
        let mut reading = Reading { problems, ..Reading::of(merged, config_maps) };
        reading.share_with(&self.before);
        self.before = reading.clone();
        reading
    }
}

impl File {
    fn note(&mut self, signature: Option<Signature>, since: SystemTime, now: SystemTime) {
        match &mut self.pending {
            _ if self.counted == signature && signature.is_some() => self.pending = None,
            Some((pending, since)) if *pending == signature => {
                // A clock that was set back must not make anybody wait.
                *since = (*since).min(now);
            }
            pending => *pending = Some((signature, since)),
        }
    }

    /// Takes what a file says. What is wrong with the file as a whole leaves what it said before.
    fn take(&mut self, path: &Path, bytes: &[u8]) {
        let name: Arc<str> = path.display().to_string().into();
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            let message = "the file is larger than 1 MiB; divide it; what it said before stays in force";
            self.content.problems = vec![problem(Code::FileTooLarge, None, format!("{name}:1:1"), message)];
            return;
        }
        let documents = match read_documents(bytes) {
            Ok(documents) => documents,
            Err(fault) => {
                let origin = format!("{name}:{}:{}", fault.mark.line, fault.mark.column);
                let message =
                    format!("{}; {}; what the file said before stays in force", fault.message, fault.fix);
                self.content.problems = vec![problem(fault.code, None, origin, message)];
                return;
            }
        };
        self.content = Content::default();
        let files: Arc<[Arc<str>]> = Arc::new([name]);
        for document in documents {
            let places = Places::new(Arc::new(document.value), document.marks.into(), Arc::clone(&files));
            self.content.add(places);
        }
    }
}

impl Content {
    fn add(&mut self, places: Places) {
        let value = Arc::clone(places.value());
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or_default();
        let ours = text("/apiVersion").is_some_and(|version| {
            version.split_once('/').is_some_and(|(group, _)| group == tidegate_crd::GROUP)
        });
        match (ours, kind, ObjectKind::named(kind)) {
            (true, _, Some(kind)) => match text("/metadata/name") {
                Some(name) => {
                    let namespace = text("/metadata/namespace").unwrap_or_default();
                    self.objects.push((ObjectKey::new(kind, namespace, name), Arc::new(places)));
                }
                None => {
                    let message = format!(
                        "metadata.name: this {kind} has no name; add one, in quotes if it is a number"
                    );
                    self.problems.push(problem(Code::SchemaViolation, None, places.at("metadata"), message));
                }
            },
            (false, "Namespace", _) => {}
            (false, "ConfigMap", _) => {
                let namespace = text("/metadata/namespace").unwrap_or_default();
                let name = text("/metadata/name").unwrap_or_default();
                let data = value.pointer("/data").and_then(Value::as_object);
                self.config_maps.extend(data.into_iter().flatten().filter_map(|(key, value)| {
                    Some(((namespace.to_owned(), name.to_owned(), key.clone()), value.as_str()?.to_owned()))
                }));
            }
            (_, _, known) => self.problems.push(unknown_kind(&places, kind, known)),
        }
    }
}

fn unknown_kind(places: &Places, kind: &str, known: Option<ObjectKind>) -> Problem {
    let version = tidegate_crd::API_VERSION;
    let kinds = ObjectKind::ALL.map(ObjectKind::as_str);
    let near = kinds
        .iter()
        .map(|known| (strsim::osa_distance(&kind.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance * 3 <= known.len())
        .min();
    let (path, message) = match (known, near) {
        (Some(_), _) => {
            ("apiVersion", format!("apiVersion: this {kind} is not one of Tidegate's; write {version}"))
        }
        (None, Some((_, near))) => ("kind", format!("kind: {kind:?} is not a kind; did you mean {near}?")),
        (None, None) if kind.is_empty() => {
            ("", format!("the document has no kind; write apiVersion: {version} and a kind"))
        }
        (None, None) => {
            let kinds = kinds.join(", ");
            ("kind", format!("kind: {kind:?} is not read here; there are {kinds}, Namespace and ConfigMap"))
        }
    };
    problem(Code::UnknownKind, None, places.at(path), message)
}

fn unreadable(path: &Path, error: &impl fmt::Display) -> Problem {
    let origin = format!("{}:1:1", path.display());
    let message = format!("cannot be read: {error}; what it said before stays in force");
    problem(Code::FolderUnreadable, None, origin, message)
}

fn problem(code: Code, key: Option<&ObjectKey>, origin: String, message: impl Into<String>) -> Problem {
    let object = key.map(ToString::to_string).unwrap_or_default();
    Problem { code: code.id(), object, origin, message: message.into() }
}
