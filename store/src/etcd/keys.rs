//! Where everything lies in etcd.
//!
//! ```text
//!  /tidegate/v1/term                              the fence of the controller
//!  /tidegate/v1/pools/<pool>/
//!      blobs/<sha256>/<n>                         parts in chunks        \
//!      clock                                      the controller's time   |
//!      departments/<code>/manifest                                        |  written by the
//!      head                                       the newest generation   |  controller alone
//!      platform                                   the platform's manifest /
//!      live/alive/<gateway>  ack/<gateway>  sessions/<gateway>/<shard>
//!      live/intents/<id>  outcomes/<id>  ended/<hour>/<session>
//!      live/logins/<account>/<kind>  once/<key>  locks/<key>
//! ```

use tidegate_core::session::Kind;
use tidegate_core::{AccountId, DepartmentCode, SessionId, Timestamp};

use crate::wire::Digest;
use crate::{GatewayId, IntentId};

/// The fence: the term of the controller that may write.
pub(super) const TERM: &str = "/tidegate/v1/term";
/// Below it lie the pools.
const POOLS: &str = "/tidegate/v1/pools/";
/// Seconds of an hour, the width of what expires together.
const HOUR_S: i64 = 3_600;

/// The keys of one pool.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    root: String,
}

impl Keys {
    pub(super) fn new(pool: &str) -> Self {
        Self { root: format!("{POOLS}{pool}/") }
    }

    /// Everything of the pool.
    pub(super) fn root(&self) -> String {
        self.root.clone()
    }

    pub(super) fn head(&self) -> String {
        format!("{}head", self.root)
    }

    /// What time it is to the controller.
    pub(super) fn clock(&self) -> String {
        format!("{}clock", self.root)
    }

    pub(super) fn platform(&self) -> String {
        format!("{}platform", self.root)
    }

    pub(super) fn departments(&self) -> String {
        format!("{}departments/", self.root)
    }

    pub(super) fn manifest(&self, code: &DepartmentCode) -> String {
        format!("{}departments/{code}/manifest", self.root)
    }

    /// Whose manifest lies under a key.
    pub(super) fn department(&self, key: &str) -> Option<DepartmentCode> {
        key.strip_prefix(&self.departments())?.strip_suffix("/manifest")?.parse().ok()
    }

    pub(super) fn blobs(&self) -> String {
        format!("{}blobs/", self.root)
    }

    /// All chunks of a part.
    pub(super) fn chunks(&self, digest: &Digest) -> String {
        format!("{}blobs/{}/", self.root, hex(digest))
    }

    pub(super) fn blob(&self, digest: &Digest, chunk: u32) -> String {
        format!("{}{chunk}", self.chunks(digest))
    }

    /// The part a key of [`Keys::blobs`] belongs to.
    pub(super) fn digest(&self, key: &str) -> Option<Digest> {
        let (name, _) = key.strip_prefix(&self.blobs())?.split_once('/')?;
        unhex(name)
    }

    /// The part a key of [`Keys::blobs`] belongs to, and which of its chunks lies there.
    pub(super) fn chunk(&self, key: &str) -> Option<(Digest, u32)> {
        let (name, number) = key.strip_prefix(&self.blobs())?.split_once('/')?;
        Some((unhex(name)?, number.parse().ok()?))
    }

    /// Everything gateways write.
    pub(super) fn live(&self) -> String {
        format!("{}live/", self.root)
    }

    pub(super) fn kind(&self, kind: &str) -> String {
        format!("{}live/{kind}/", self.root)
    }

    pub(super) fn alive(&self, gateway: &GatewayId) -> String {
        format!("{}live/alive/{}", self.root, gateway.0)
    }

    pub(super) fn ack(&self, gateway: &GatewayId) -> String {
        format!("{}live/ack/{}", self.root, gateway.0)
    }

    pub(super) fn sessions(&self, gateway: &GatewayId) -> String {
        format!("{}live/sessions/{}/", self.root, gateway.0)
    }

    pub(super) fn intent(&self, id: IntentId) -> String {
        format!("{}live/intents/{:032x}", self.root, id.0)
    }

    /// The intent that lies under a key.
    pub(super) fn intent_of(&self, key: &str) -> Option<IntentId> {
        let name = key.strip_prefix(&self.kind("intents"))?;
        u128::from_str_radix(name, 16).ok().map(IntentId).filter(|id| self.intent(*id) == key)
    }

    pub(super) fn outcome(&self, id: IntentId) -> String {
        format!("{}live/outcomes/{:032x}", self.root, id.0)
    }

    pub(super) fn ended(&self, session: SessionId, until: Timestamp) -> String {
        format!("{}live/ended/{}/{}", self.root, until.0 / HOUR_S, hex(&session.0))
    }

    /// The session a key of `live/ended/` is about.
    pub(super) fn ended_session(key: &str) -> Option<SessionId> {
        key.rsplit_once('/').and_then(|(_, name)| unhex(name)).map(SessionId)
    }

    pub(super) fn login(&self, account: &AccountId, kind: Kind) -> String {
        let kind = match kind {
            Kind::Portal => "portal",
            Kind::Tunnel => "tunnel",
        };
        format!("{}live/logins/{account}/{kind}", self.root)
    }

    pub(super) fn once(&self, key: &str) -> String {
        format!("{}live/once/{key}", self.root)
    }

    pub(super) fn lock(&self, key: &str) -> String {
        format!("{}live/locks/{key}", self.root)
    }
}

/// The first key after all that begin with `prefix`.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Our keys are text, so the last byte is never 0xff.
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let keys = Keys::new("main");
        let code: DepartmentCode = "sbj".parse().expect("a code");
        assert_eq!(keys.manifest(&code), "/tidegate/v1/pools/main/departments/sbj/manifest");
        assert_eq!(keys.department(&keys.manifest(&code)), Some(code));
        assert_eq!(keys.department(&keys.head()), None);
        let digest = [0xab; 32];
        assert_eq!(keys.digest(&keys.blob(&digest, 3)), Some(digest));
        assert_eq!(keys.chunk(&keys.blob(&digest, 3)), Some((digest, 3)));
        assert_eq!(keys.chunk(&keys.head()), None);
        let (chunks, another) = (keys.chunks(&digest), keys.blob(&[0xac; 32], 0));
        assert!(keys.blob(&digest, 10).starts_with(&chunks), "a sweep takes all of them");
        assert!(another.as_bytes() >= end_of(&chunks).as_slice(), "and no other");
        let session = SessionId([0x1f; 16]);
        let key = keys.ended(session, Timestamp(7_200));
        assert!(key.starts_with("/tidegate/v1/pools/main/live/ended/2/1f1f"), "{key}");
        assert_eq!(Keys::ended_session(&key), Some(session));
        assert_eq!(Keys::ended_session("x/+1"), None);
        let intent = keys.intent(IntentId(0x1f));
        assert_eq!(keys.intent_of(&intent), Some(IntentId(0x1f)));
        assert_eq!(keys.intent_of(&intent.to_uppercase()), None);
        assert_eq!(keys.intent_of(&format!("{}+1f", keys.kind("intents"))), None, "no name we gave");
    }

    #[test]
    fn configuration_lies_outside_of_what_gateways_write() {
        let keys = Keys::new("main");
        let (live, end) = (keys.live(), end_of(&keys.live()));
        for key in [keys.head(), keys.clock(), keys.platform(), keys.departments(), keys.blobs()] {
            assert!(key.as_bytes() < live.as_bytes() || key.as_bytes() >= end.as_slice(), "{key}");
        }
    }
}
