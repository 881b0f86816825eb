//! Intents: what a user does that must change the truth.
//!
//! They carry hashes, never passwords, and the credential version they replace: repeating one is a
//! no-op, a stale one is refused.

use tidegate_core::{AccountId, Code, Timestamp, Uid};

/// The name of an intent (ULID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub u128);

/// A change a gateway asks the controller for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name; the truth records it.
    pub id: IntentId,
    /// The account, by name.
    pub account: AccountId,
    /// The account, by object.
    pub uid: Uid,
    /// The credential version it replaces.
    pub replaces: u64,
    /// What is to change.
    pub action: IntentAction,
    /// When the user asked.
    pub at: Timestamp,
}

/// What an intent changes.
#[derive(Clone, PartialEq, Eq)]
pub enum IntentAction {
    /// First password, with the activation code as proof (its SHA-256).
    Activate {
        /// The digest of the code.
        code: [u8; 32],
        /// The new password's hash in PHC form.
        password: Box<str>,
    },
    /// A new password in place of the present one.
    ChangePassword {
        /// The new password's hash in PHC form.
        password: Box<str>,
    },
}

impl std::fmt::Debug for IntentAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Activate { .. } => "Activate",
            Self::ChangePassword { .. } => "ChangePassword",
        })
    }
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The truth says so now; the credential has this version.
    Done {
        /// The new credential version.
        version: u64,
    },
    /// Refused, with the reason.
    Refused(Code),
}
