//! Cookies: the session as the browser carries it, and the few preferences beside it.
//!
//! ```text
//!  session cookie = seal(Cookie, audience, version 1 | seen 8 | renewed 8 | view 1 | failures 1 | last 8 | ticket)
//! ```
//!
//! All are `__Host-`: Secure, one host, path `/`. The session cookie is sealed for the portal or for one
//! resource host, so one taken to another host opens there for nobody.

use http::{HeaderMap, HeaderValue, header};
use tidegate_core::session::Ticket;
use tidegate_core::{AccountId, Code, Lang, Timestamp};

use crate::keys::{Purpose, Ring, SealError};
use crate::ticket::{self, Reader, Writer};

#[cfg(test)]
mod tests;

/// What the names of all our cookies begin with; the proxy forwards none of them.
pub const PREFIX: &str = "__Host-tidegate";

/// For whom a session cookie on the portal host is sealed; on a resource host it is that host.
pub const PORTAL: &str = "portal";

/// For whom the session of a VPN client is sealed; it opens for no browser.
pub const TUNNEL: &str = "tunnel";

/// The session as VPN clients carry it; they know it by this name only.
pub const WEBVPN: &str = "webvpn";

/// The session.
pub const SESSION: &str = "__Host-tidegate";

/// The nonce of a handshake in progress, on a resource host.
pub const NONCE: &str = "__Host-tidegate-nonce";

/// The department this computer logs in to.
pub const DEPARTMENT: &str = "__Host-tidegate-department";

/// Language and size of text.
pub const VIEW: &str = "__Host-tidegate-view";

/// The last login on this computer, for its owner's eyes.
pub const LAST: &str = "__Host-tidegate-last";

/// A login or password change that waits.
pub const WAIT: &str = "__Host-tidegate-wait";

/// Longest cookie header that is searched.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Longest value of a session cookie, sealed and in base64.
pub const SESSION_BYTES_MAX: usize = 512;

/// How long a browser remembers a preference.
const PREFERENCE_S: u32 = 400 * 24 * 3_600;

/// What stands for no earlier login.
const NEVER_BEFORE: Timestamp = Timestamp(i64::MIN);

const VERSION: u8 = 1;

/// How somebody likes pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Language; `None` follows the browser.
    pub lang: Option<Lang>,
    /// Large text.
    pub large: bool,
}

/// What a session cookie says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The ticket.
    pub ticket: Ticket,
    /// When its owner last asked for something.
    pub seen: Timestamp,
    /// When the portal last vouched for it; on the portal itself, the login.
    pub renewed: Timestamp,
    /// How pages look on hosts without the preference cookie.
    pub view: View,
    /// Wrong passwords before this login, since the one before it.
    pub failures: u8,
    /// The login before this one on the same computer.
    pub last: Option<Timestamp>,
}

impl Session {
    /// A session that begins at `now`.
    #[must_use]
    pub fn of(ticket: Ticket, now: Timestamp) -> Self {
        Self { ticket, seen: now, renewed: now, view: View::default(), failures: 0, last: None }
    }

    /// The cookie's value for `audience`.
    pub fn seal(&self, ring: &Ring, audience: &str, now: Timestamp) -> Result<String, SealError> {
        ring.seal_text(Purpose::Cookie, audience.as_bytes(), &self.to_bytes(), now)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(ticket::TICKET_BYTES_MAX + 27));
        out.u8(VERSION);
        out.time(self.seen);
        out.time(self.renewed);
        out.u8(self.view.byte());
        out.u8(self.failures);
        out.time(self.last.unwrap_or(NEVER_BEFORE));
        out.bytes(&ticket::to_bytes(&self.ticket));
        out.0
    }

    /// What `value`, presented to `audience`, says.
    pub fn open(ring: &Ring, audience: &str, value: &str) -> Result<Self, Code> {
        if value.len() > SESSION_BYTES_MAX {
            return Err(Code::TicketInvalid);
        }
        Self::from_bytes(&ring.open_text(Purpose::Cookie, audience.as_bytes(), value)?)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Code> {
        let mut reader = Reader(bytes);
        let mut head = || {
            (reader.u8()? == VERSION).then_some(())?;
            let (seen, renewed) = (reader.time()?, reader.time()?);
            Some((seen, renewed, View::from_byte(reader.u8()?)?, reader.u8()?, reader.time()?))
        };
        let (seen, renewed, view, failures, last) = head().ok_or(Code::TicketInvalid)?;
        let last = (last != NEVER_BEFORE).then_some(last);
        Ok(Self { ticket: ticket::open_bytes(reader.rest())?, seen, renewed, view, failures, last })
    }
}

impl View {
    fn byte(self) -> u8 {
        let lang = match self.lang {
            None => 0,
            Some(Lang::ZhCn) => 1,
            Some(Lang::En) => 2,
        };
        lang | if self.large { 4 } else { 0 }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let lang = match byte & 3 {
            0 => None,
            1 => Some(Lang::ZhCn),
            2 => Some(Lang::En),
            _ => return None,
        };
        (byte < 8).then_some(Self { lang, large: byte & 4 != 0 })
    }

    /// The preference in a request's cookies.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let byte = find(headers, VIEW).and_then(|value| value.parse().ok());
        byte.and_then(Self::from_byte).unwrap_or_default()
    }

    /// The cookie that keeps it.
    #[must_use]
    pub fn cookie(self) -> HeaderValue {
        set(VIEW, &self.byte().to_string(), Some(PREFERENCE_S))
    }
}

/// The cookie that keeps the department of this computer; `code` is a department code.
#[must_use]
pub fn department(code: &str) -> HeaderValue {
    set(DEPARTMENT, code, Some(PREFERENCE_S))
}

/// The cookie that keeps when `account` logged in on this computer.
pub fn last(ring: &Ring, account: &AccountId, now: Timestamp) -> Result<HeaderValue, SealError> {
    let mut out = Writer(Vec::new());
    out.time(now);
    out.bytes(account.to_string().as_bytes());
    Ok(set(LAST, &ring.seal_text(Purpose::Cookie, LAST.as_bytes(), &out.0, now)?, Some(PREFERENCE_S)))
}

/// When `account` last logged in on this computer, if nobody else has since.
#[must_use]
pub fn last_of(ring: &Ring, headers: &HeaderMap, account: &AccountId) -> Option<Timestamp> {
    let bytes = ring.open_text(Purpose::Cookie, LAST.as_bytes(), find(headers, LAST)?).ok()?;
    let mut reader = Reader(&bytes);
    let at = reader.time()?;
    (reader.rest() == account.to_string().as_bytes()).then_some(at)
}

/// The value of the cookie called `name`.
#[must_use]
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut searched = 0;
    for header in headers.get_all(header::COOKIE) {
        searched += header.len();
        if searched > HEADER_BYTES_MAX {
            return None;
        }
        let Ok(text) = header.to_str() else { continue };
        for pair in text.split(';') {
            if let Some((found, value)) = pair.trim().split_once('=')
                && found == name
            {
                return Some(value);
            }
        }
    }
    None
}

/// A cookie of ours. `value` has only characters cookies may have; without `seconds` it lives as long as
/// the browser.
#[must_use]
pub fn set(name: &str, value: &str, seconds: Option<u32>) -> HeaderValue {
    let mut text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
    if let Some(seconds) = seconds {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    // Names are constants and values base64 or ids; anything else is not sent at all.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Takes a cookie of ours away.
#[must_use]
pub fn clear(name: &str) -> HeaderValue {
    set(name, "", Some(0))
}
