//! Who may set a password: whoever has the activation code, or has proven the present password a moment ago.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use tidegate_core::{Account, AccountId, Code, Credential, Department, Timestamp, Uid};

use super::renewal::{ACTIVATION_REFUSED, CHANGED, Occasion};
use super::steps::{Refused, Typed, find};
use crate::keys::Purpose;
use crate::portal::Visit;
use crate::ticket::{Reader, Writer};

/// Longest activation code as typed, with hyphens and spaces.
const CODE_CHARS_MAX: usize = 40;

/// Seconds for which the right to set a new password lasts after the present one, or the code, was proven.
const PROOF_S: i64 = 900;

/// The right to set a new password has run out.
pub(crate) const EXPIRED: Refused = Refused { key: "error-change-expired", code: Code::FormForeign };

/// Whether a text could be an activation code.
pub(crate) fn could_be_code(typed: &str) -> bool {
    !typed.is_empty() && typed.chars().count() <= CODE_CHARS_MAX
}

/// The account meant, if the code with this digest opens it now.
pub(crate) fn opened_by(
    visit: &Visit<'_>,
    typed: &Typed,
    code: &[u8; 32],
) -> Option<(Arc<Department>, Arc<Account>)> {
    find(visit, typed).filter(|(_, account)| {
        account.credential.as_ref().is_some_and(|credential| opens(credential, code, visit.now))
    })
}

fn opens(credential: &Credential, code: &[u8; 32], now: Timestamp) -> bool {
    now < credential.activation_until
        && credential
            .activation
            .as_ref()
            .is_some_and(|wanted| constant_time::verify_slices_are_equal(wanted, code).is_ok())
}

/// The digest of a code as it was typed: case, hyphens and spaces do not matter, and what looks like a
/// letter is one.
pub(crate) fn code_digest(typed: &str) -> [u8; 32] {
    let normal: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '‐' | '–' | '—' | '－'))
        .map(|c| match c.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            c => c,
        })
        .collect();
    let mut out = [0; 32];
    if let Some(bytes) = digest(&SHA256, normal.as_bytes()).as_ref().first_chunk::<32>() {
        out = *bytes;
    }
    out
}

/// The sealed right to set a new password without proving again who one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Whose.
    pub(crate) id: AccountId,
    /// The account of that name: a later one of the same name is another.
    pub(crate) uid: Uid,
    /// The version of the credential it replaces.
    pub(crate) version: u64,
    /// What was proven.
    pub(crate) occasion: Occasion,
    /// When.
    pub(crate) at: Timestamp,
}

impl Proof {
    /// The right of an account that has just proven the present password, or its code.
    pub(crate) fn of(department: &Department, account: &Account, occasion: Occasion, at: Timestamp) -> Self {
        let id = AccountId { department: department.code.clone(), name: account.name.clone() };
        let version = account.credential.as_ref().map_or(0, |credential| credential.version);
        Self { id, uid: account.source.uid.clone(), version, occasion, at }
    }

    /// The right as a text that opens only in `context`.
    pub(crate) fn seal(&self, visit: &Visit<'_>, context: &[u8]) -> Option<String> {
        let mut out = Writer(Vec::new());
        out.time(self.at);
        out.u64(self.version);
        out.text(self.id.department.as_str());
        out.text(self.id.name.as_str());
        out.text(self.uid.as_str());
        match self.occasion {
            Occasion::Change => out.u8(0),
            Occasion::Activation(code) => {
                out.u8(1);
                out.bytes(&code);
            }
        }
        visit.ctx.ring().seal_text(Purpose::Change, context, &out.0, visit.now).ok()
    }

    /// The right that `text` gives in `context`, if it still does.
    pub(crate) fn open(visit: &Visit<'_>, context: &[u8], text: &str) -> Option<Self> {
        let bytes = visit.ctx.ring().open_text(Purpose::Change, context, text).ok()?;
        let mut reader = Reader(&bytes);
        let (at, version) = (reader.time()?, reader.u64()?);
        let id = AccountId { department: reader.text()?.parse().ok()?, name: reader.text()?.parse().ok()? };
        let uid = reader.text()?.parse().ok()?;
        let occasion = match reader.u8()? {
            0 => Occasion::Change,
            1 => Occasion::Activation(reader.array()?),
            _ => return None,
        };
        let counts = reader.is_empty() && (0..=PROOF_S).contains(&visit.now.since(at));
        counts.then_some(Self { id, uid, version, occasion, at })
    }

    /// The account it is about, if it may still be used and the right still counts.
    pub(crate) fn account(&self, visit: &Visit<'_>) -> Result<(Arc<Department>, Arc<Account>), Refused> {
        let gone = if self.occasion == Occasion::Change { CHANGED } else { ACTIVATION_REFUSED };
        let (department, account) = find(visit, &Typed::from(&self.id)).ok_or(gone)?;
        let credential = account.credential.as_ref().ok_or(gone)?;
        let counts = match &self.occasion {
            Occasion::Change => credential.password.is_some(),
            Occasion::Activation(code) => opens(credential, code, visit.now),
        };
        let same = account.source.uid == self.uid && credential.version == self.version;
        if counts && same { Ok((department, account)) } else { Err(gone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_may_be_typed_in_any_way() {
        let wanted = code_digest("K7QD-M2XA-5FTR-3WHB");
        assert_eq!(code_digest(" k7qd m2xa 5ftr 3whb "), wanted);
        assert_eq!(code_digest("k7qdm2xa5ftr3whb"), wanted);
        assert_ne!(code_digest("K7QD-M2XA-5FTR-3WHC"), wanted);
        assert_eq!(code_digest("0I1O"), code_digest("OIIO"));
        let expected = digest(&SHA256, b"K7QDM2XA5FTR3WHB");
        assert_eq!(wanted.as_slice(), expected.as_ref());
    }
}
