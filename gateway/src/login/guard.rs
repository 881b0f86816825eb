//! Whether a POST really came from one of our pages.
//!
//! Three walls: the cookies are `SameSite=Lax`; the browser says where the request comes from
//! (`Sec-Fetch-Site`, else `Origin`); and every form carries a sealed token that names form and session.

use http::{HeaderMap, header};
use tidegate_core::{Code, SessionId, Timestamp};

use crate::keys::{Purpose, Ring, SealError};
use crate::ticket::{Reader, Writer};

/// Seconds a form may stay open.
const FORM_S: i64 = 12 * 3_600;

/// The forms that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormName {
    Login,
    Activate,
    Password,
    Logout,
}

impl FormName {
    fn context(self, session: Option<SessionId>) -> Vec<u8> {
        let mut context = match self {
            Self::Login => b"login ".to_vec(),
            Self::Activate => b"activate ".to_vec(),
            Self::Password => b"password ".to_vec(),
            Self::Logout => b"logout ".to_vec(),
        };
        if let Some(session) = session {
            context.extend_from_slice(&session.0);
        }
        context
    }

    /// The token for this form, in this session if there is one.
    pub(crate) fn token(
        self,
        ring: &Ring,
        session: Option<SessionId>,
        now: Timestamp,
    ) -> Result<String, SealError> {
        let mut out = Writer(Vec::new());
        out.time(now);
        ring.seal_text(Purpose::Form, &self.context(session), &out.0, now)
    }

    /// Whether `token` is this form's and not too old.
    pub(crate) fn check(
        self,
        ring: &Ring,
        session: Option<SessionId>,
        token: &str,
        now: Timestamp,
    ) -> Result<(), Code> {
        let bad = Code::FormForeign;
        let bytes = ring.open_text(Purpose::Form, &self.context(session), token).map_err(|_| bad)?;
        let issued = Reader(&bytes).time().ok_or(bad)?;
        if (0..=FORM_S).contains(&now.since(issued)) { Ok(()) } else { Err(bad) }
    }
}

/// Whether the browser says that the request comes from `origin` itself, or says nothing.
pub(crate) fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("invalid"));
    match value("sec-fetch-site") {
        Some(site) => site == "same-origin" || site == "none",
        None => value(header::ORIGIN.as_str()).is_none_or(|from| from == origin),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOON: Timestamp = Timestamp(1_795_000_000);

    #[test]
    fn a_token_is_for_one_form_and_session() {
        let ring = Ring::new(&[(1, [1; 32])]).unwrap();
        let (one, other) = (Some(SessionId([1; 16])), Some(SessionId([2; 16])));
        let token = FormName::Password.token(&ring, one, NOON).unwrap();
        let check = |form: FormName, session, now| form.check(&ring, session, &token, now);
        assert_eq!(check(FormName::Password, one, NOON.plus(FORM_S)), Ok(()));
        let refused = Err(Code::FormForeign);
        assert_eq!(check(FormName::Password, one, NOON.plus(FORM_S + 1)), refused);
        assert_eq!(check(FormName::Password, other, NOON), refused);
        assert_eq!(check(FormName::Password, None, NOON), refused);
        assert_eq!(check(FormName::Logout, one, NOON), refused);
        assert_eq!(FormName::Password.check(&ring, one, "", NOON), refused);
    }

    #[test]
    fn other_sites_are_told_apart() {
        let own = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            is_own(&headers, "https://portal.example")
        };
        assert!(own("sec-fetch-site", "same-origin"));
        assert!(own("sec-fetch-site", "none"));
        assert!(!own("sec-fetch-site", "same-site"));
        assert!(!own("sec-fetch-site", "cross-site"));
        assert!(own("origin", "https://portal.example"));
        assert!(!own("origin", "https://evil.example"));
        assert!(!own("origin", "null"));
        assert!(own("accept", "*/*"));
    }
}
