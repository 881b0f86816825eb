//! How a resource host gets a cookie of its own, without a store.
//!
//! ```text
//!  resource host   no cookie: sets a nonce cookie, redirects to   portal/go?t=Start
//!  portal          logged in: redirects to                        resource/.tidegate/enter?g=Grant
//!  resource host   checks nonce, host and age; sets its cookie, redirects to the path asked for
//!
//!  Start = seal(host, path, SHA-256(nonce), last sign of life there)
//!  Grant = seal(host, path, SHA-256(nonce), 30 s, session)
//! ```
//!
//! Both are sealed by the pool, so where they lead cannot be forged: there is no open redirect. A stolen
//! grant is worth nothing without the nonce cookie of the browser that started.

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding};
use http::{HeaderMap, Method};
use tidegate_core::{Code, ResourceId, SessionId, Timestamp};

use crate::cookie::{self, Session};
use crate::keys::{self, Purpose, Ring, SealError};
use crate::ticket::{Reader, Writer};

#[cfg(test)]
mod tests;

/// Path on a resource host at which a grant arrives.
pub const ENTER: &str = "/.tidegate/enter";

/// Path on the portal at which a start arrives.
pub const GO: &str = "/go";

/// Seconds a grant is good for.
pub const GRANT_S: i64 = 30;

/// Seconds after which a resource host asks the portal again, at the next navigation.
pub const RENEW_S: i64 = 300;

/// Seconds a browser keeps the nonce of a handshake.
const NONCE_S: u32 = 3_600;

/// Longest path and query that is remembered over a handshake; a longer one starts at `/`.
const TARGET_BYTES_MAX: usize = 512;

const NONCE_BYTES: usize = 16;

/// A resource host's request that the portal vouch for a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The resource.
    pub resource: ResourceId,
    /// Path and query to open in the end.
    pub target: String,
    /// SHA-256 of the browser's nonce.
    pub nonce: [u8; 32],
    /// The session seen on the resource host and when: work there counts as work.
    pub seen: Option<(SessionId, Timestamp)>,
}

/// The portal's word that a browser is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The resource.
    pub resource: ResourceId,
    /// Path and query to open in the end.
    pub target: String,
    /// SHA-256 of the browser's nonce.
    pub nonce: [u8; 32],
    /// When the word was given.
    pub at: Timestamp,
    /// The session.
    pub session: Session,
}

impl Start {
    /// The text for the URL.
    pub fn seal(&self, ring: &Ring, now: Timestamp) -> Result<String, SealError> {
        let mut out = Writer(Vec::new());
        put_common(&mut out, &self.resource, &self.target, &self.nonce);
        match self.seen {
            None => out.u8(0),
            Some((session, at)) => {
                out.u8(1);
                out.bytes(&session.0);
                out.time(at);
            }
        }
        ring.seal_text(Purpose::Start, b"", &out.0, now)
    }

    /// The start in a URL.
    pub fn open(ring: &Ring, text: &str) -> Result<Self, Code> {
        let bytes = ring.open_text(Purpose::Start, b"", text).map_err(|_| Code::HandshakeInvalid)?;
        let mut reader = Reader(&bytes);
        let mut read = || {
            let (resource, target, nonce) = take_common(&mut reader)?;
            let seen = match reader.u8()? {
                0 => None,
                1 => Some((SessionId(reader.array()?), reader.time()?)),
                _ => return None,
            };
            reader.is_empty().then_some(Self { resource, target, nonce, seen })
        };
        read().ok_or(Code::HandshakeInvalid)
    }
}

impl Grant {
    /// The text for the URL.
    pub fn seal(&self, ring: &Ring, now: Timestamp) -> Result<String, SealError> {
        let mut out = Writer(Vec::new());
        put_common(&mut out, &self.resource, &self.target, &self.nonce);
        out.time(self.at);
        out.bytes(&self.session.to_bytes());
        ring.seal_text(Purpose::Grant, b"", &out.0, now)
    }

    /// The session a grant brings to `resource`, and where to go on, if everything fits.
    pub fn accept(
        ring: &Ring,
        text: &str,
        resource: &ResourceId,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<(Session, String), Code> {
        let bad = Code::HandshakeInvalid;
        let bytes = ring.open_text(Purpose::Grant, b"", text).map_err(|_| bad)?;
        let mut reader = Reader(&bytes);
        let (meant_for, target, digest) = take_common(&mut reader).ok_or(bad)?;
        let at = reader.time().ok_or(bad)?;
        let session = Session::from_bytes(reader.rest()).map_err(|_| bad)?;
        let fits = meant_for == *resource
            && (0..=GRANT_S).contains(&now.since(at))
            && nonce.is_some_and(|nonce| {
                constant_time::verify_slices_are_equal(&nonce_digest(nonce), &digest).is_ok()
            });
        if fits { Ok((session, target)) } else { Err(bad) }
    }
}

fn put_common(out: &mut Writer, resource: &ResourceId, target: &str, nonce: &[u8; 32]) {
    out.u8(1);
    out.text(resource.department.as_str());
    out.text(resource.name.as_str());
    let target = if target.len() <= TARGET_BYTES_MAX { target } else { "/" };
    out.u64(target.len() as u64);
    out.bytes(target.as_bytes());
    out.bytes(nonce);
}

fn take_common(reader: &mut Reader<'_>) -> Option<(ResourceId, String, [u8; 32])> {
    (reader.u8()? == 1).then_some(())?;
    let resource =
        ResourceId { department: reader.text()?.parse().ok()?, name: reader.text()?.parse().ok()? };
    let length = usize::try_from(reader.u64()?).ok().filter(|length| *length <= TARGET_BYTES_MAX)?;
    let target = std::str::from_utf8(reader.slice(length)?).ok()?;
    let target = is_local(target).then(|| target.to_owned())?;
    Some((resource, target, reader.array()?))
}

/// Whether `target` is a path and query on the same host, in the form the proxy normalises to.
#[must_use]
pub fn is_local(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.len() <= TARGET_BYTES_MAX
        && target.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && !target.starts_with(ENTER)
}

/// The nonce of this browser and whether its cookie is new: one in use is kept, so that two windows can
/// open systems at once.
pub fn nonce(headers: &HeaderMap) -> Result<(String, bool), SealError> {
    let kept = cookie::find(headers, cookie::NONCE)
        .filter(|text| Base64UrlUnpadded::decode_vec(text).is_ok_and(|bytes| bytes.len() == NONCE_BYTES));
    match kept {
        Some(text) => Ok((text.to_owned(), false)),
        None => Ok((Base64UrlUnpadded::encode_string(&keys::random::<NONCE_BYTES>()?), true)),
    }
}

/// The cookie that keeps a nonce.
#[must_use]
pub fn nonce_cookie(nonce: &str) -> http::HeaderValue {
    cookie::set(cookie::NONCE, nonce, Some(NONCE_S))
}

/// What the portal is told of a nonce.
#[must_use]
pub fn nonce_digest(nonce: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let sum = digest(&SHA256, nonce.as_bytes());
    if let Some(bytes) = sum.as_ref().first_chunk::<32>() {
        out = *bytes;
    }
    out
}

/// Whether a request is somebody going to a page, which may be sent through a handshake; a script's or
/// form's request may not, it would lose its body or be answered by a page it cannot read.
#[must_use]
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if method != Method::GET {
        return false;
    }
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match value("sec-fetch-mode") {
        Some(mode) => {
            mode == "navigate"
                && matches!(value("sec-fetch-dest"), None | Some("document" | "iframe" | "frame"))
        }
        // Browsers from before fetch metadata say at least that they want a page.
        None => {
            value("accept").is_some_and(|accept| accept.contains("text/html")) && value("upgrade").is_none()
        }
    }
}
