//! The sealed snapshot on a gateway's disk, from which it starts when etcd is away.
//!
//! Two files: the snapshot, written some seconds after it changed, and beside it `.proof`, small and written often, with
//! the wall time at which etcd last proved that nothing newer exists. Before anything newer is in force the proof goes,
//! and a snapshot without its proof is none: a process that is killed in between never starts from less than it has
//! said is in force.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use tidegate_core::session::EndReason;
use tidegate_core::{Generation, SessionId, Timestamp};

use super::mirror::{Mirror, Shown};
use super::seal::{Purpose, Sealer};
use crate::wire::v1::{Head, decode_ended, decode_manifest, encode_ended, encode_manifest};
use crate::wire::{self, Blobs, Digest, digest_of, unreadable};
use crate::{StoreError, StoreResult};

/// Bytes of a snapshot.
const LONGEST: u64 = 1024 * 1024 * 1024;

/// Ended sessions as they are kept.
pub(super) type EndedList = Vec<(SessionId, EndReason, Timestamp)>;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Body {
    #[n(0)]
    term: u64,
    #[n(1)]
    sequence: u64,
    #[n(2)]
    platform: ByteVec,
    #[n(3)]
    departments: Vec<(String, ByteVec)>,
    #[n(4)]
    parts: Vec<ByteVec>,
    #[n(5)]
    ended: Vec<(ByteArray<16>, ByteVec, i64)>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Proof {
    #[n(0)]
    snapshot: ByteArray<32>,
    #[n(1)]
    fresh_at: i64,
}

/// The files.
#[derive(Debug)]
pub(super) struct Disk {
    file: PathBuf,
    proof: PathBuf,
    /// The digest of the sealed snapshot that lies there.
    written: Option<Digest>,
}

/// What was read.
pub(super) struct Read {
    pub(super) mirror: Mirror,
    pub(super) ended: EndedList,
    pub(super) fresh_at: Timestamp,
}

impl Disk {
    pub(super) fn new(file: PathBuf) -> Self {
        let mut proof = file.clone().into_os_string();
        proof.push(".proof");
        Self { file, proof: proof.into(), written: None }
    }

    /// Reads the snapshot; `None` when there is none that was the newest.
    pub(super) fn read(&mut self, sealer: &Sealer) -> StoreResult<Option<Read>> {
        let Some(sealed) = contents(&self.file)? else { return Ok(None) };
        let digest = digest_of(&sealed);
        let Some(proof) = self.read_proof(sealer)?.filter(|proof| *proof.snapshot == digest) else {
            return Ok(None);
        };
        let body = sealer.open(Purpose::Disk, "snapshot", &sealed)?;
        let body: Body = minicbor::decode(&body).map_err(unreadable)?;
        let generation = Generation { term: body.term, sequence: body.sequence };
        let platform = decode_manifest(&body.platform)?;
        let mut departments = Vec::with_capacity(body.departments.len());
        for (code, manifest) in body.departments {
            departments.push((code.parse().map_err(unreadable)?, decode_manifest(&manifest)?));
        }
        let parts = body.parts.into_iter().map(Vec::from);
        let blobs: Blobs = parts.map(|part| (digest_of(&part), Arc::from(part))).collect();
        let mut mirror = Mirror::default();
        let head = Head { generation, platform: Some(platform.generation) };
        mirror.stage_all(head, Some(platform), departments.into_iter());
        mirror.settle(&blobs);
        if mirror.shown.platform.is_none() || !mirror.shown.unreadable.is_empty() {
            return Err(unreadable("the snapshot on disk lacks parts"));
        }
        let ended = body.ended.into_iter().map(|(session, reason, until)| {
            let reason = decode_ended(&reason).unwrap_or(EndReason::Kicked);
            (SessionId(*session), reason, Timestamp(until))
        });
        self.written = Some(digest);
        Ok(Some(Read { mirror, ended: ended.collect(), fresh_at: Timestamp(proof.fresh_at) }))
    }

    fn read_proof(&self, sealer: &Sealer) -> StoreResult<Option<Proof>> {
        let Some(sealed) = contents(&self.proof)? else { return Ok(None) };
        let plain = sealer.open(Purpose::Disk, "proof", &sealed)?;
        minicbor::decode(&plain).map(Some).map_err(unreadable)
    }

    /// Writes the snapshot and its proof.
    pub(super) fn write(
        &mut self,
        sealer: &Sealer,
        shown: &Shown,
        ended: &EndedList,
        fresh_at: Timestamp,
    ) -> StoreResult<()> {
        let Some(platform) = &shown.platform else { return Ok(()) };
        let mut parts = wire::pack_platform(&platform.value)?.blobs;
        let mut departments = Vec::with_capacity(shown.departments.len());
        for (code, entry) in &shown.departments {
            parts.extend(wire::pack_department(&entry.value)?.blobs);
            departments.push((code.to_string(), encode_manifest(&entry.manifest).into()));
        }
        let body = Body {
            term: shown.generation.term,
            sequence: shown.generation.sequence,
            platform: encode_manifest(&platform.manifest).into(),
            departments,
            parts: parts.into_values().map(|part| part.to_vec().into()).collect(),
            ended: ended
                .iter()
                .map(|(session, reason, until)| (session.0.into(), encode_ended(*reason).into(), until.0))
                .collect(),
        };
        let plain = minicbor::to_vec(&body).map_err(unreadable)?;
        let sealed = sealer.seal(Purpose::Disk, "snapshot", &plain)?;
        replace(&self.file, &sealed)?;
        self.written = Some(digest_of(&sealed));
        self.prove(sealer, fresh_at)
    }

    /// What lies there will not be the newest any more: until it is written again, nobody starts from it.
    pub(super) fn outdate(&mut self) -> StoreResult<()> {
        self.written = None;
        match fs::remove_file(&self.proof) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(medium(&self.proof, &error)),
            _ => Ok(()),
        }
    }

    /// Notes that what lies there was still the newest at a time.
    pub(super) fn prove(&self, sealer: &Sealer, fresh_at: Timestamp) -> StoreResult<()> {
        let Some(digest) = self.written else { return Ok(()) };
        let proof = Proof { snapshot: digest.into(), fresh_at: fresh_at.0 };
        let plain = minicbor::to_vec(&proof).map_err(unreadable)?;
        replace(&self.proof, &sealer.seal(Purpose::Disk, "proof", &plain)?)
    }
}

fn contents(file: &Path) -> StoreResult<Option<Vec<u8>>> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > LONGEST => Err(unreadable("the snapshot on disk is too long")),
        Ok(_) => fs::read(file).map(Some).map_err(|error| medium(file, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(medium(file, &error)),
    }
}

/// Puts a file in place of another, whole or not at all.
fn replace(file: &Path, bytes: &[u8]) -> StoreResult<()> {
    let mut beside = file.to_owned().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut new| new.write_all(bytes).and_then(|()| new.sync_all()))
        .and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| medium(file, &error))
}

fn medium(file: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Medium(format!("{}: {error}", file.display()))
}
