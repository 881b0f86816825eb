//! What an account proves itself with: one record each, changed only by the steps here.
//!
//! ```text
//!  observe(object at an instant) --+
//!                                  +--> Step { record, effects }     pure, no clock, no disk
//!  intend(intent of a gateway)   --+
//! ```
//!
//! Two numbers only grow: `version`, which an intent names as what it replaces, and `epoch`, below
//! which every ticket is void. The epoch rises when standing is lost, the password changes, or the
//! object asks for it by a higher `sessionGeneration`.

mod vault;

use aws_lc_rs::constant_time;
use serde::{Deserialize, Serialize};
use tidegate_core::{Code, Credential, Timestamp};
use tidegate_store::{Intent, IntentAction};

use crate::activation;
use crate::digest::Digest;

pub use vault::Vault;

/// Settled intents a record remembers, so that repeating one is a no-op.
const SETTLED_MAX: usize = 8;

/// Longest password hash accepted from a gateway, in PHC form.
const PHC_BYTES_MAX: usize = 256;

/// The only kind of hash accepted.
const PHC_PREFIX: &str = "$argon2id$";

/// The truth about one account's proofs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    version: u64,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    history: Vec<Box<str>>,
    /// Seconds since 1970 at which the password was set.
    #[serde(default)]
    password_at: i64,
    #[serde(default)]
    must_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activation: Option<Activation>,
    /// Codes made so far.
    #[serde(default)]
    issues: u64,
    /// The last request for a new code that was honoured.
    #[serde(default)]
    reissued: u64,
    #[serde(default)]
    session_generation: i64,
    /// Whether the account could be used when it was last observed.
    standing: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settled: Vec<Settled>,
}

/// An outstanding activation code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Activation {
    /// Which code of the account it is.
    pub issue: u64,
    #[serde(with = "hex_digest")]
    digest: Digest,
    /// Seconds since 1970 at which it stops working.
    until: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settled {
    /// The intent, as 32 hexadecimal digits.
    intent: String,
    version: u64,
}

/// What an account's newest object says at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// The instant.
    pub at: Timestamp,
    /// Whether the account may be used then.
    pub standing: bool,
    /// The object's `sessionGeneration`.
    pub session_generation: i64,
    /// The object's request for a new code; honoured when larger than the last one honoured.
    pub reissue: u64,
    /// Days after which the account's department wants a new password; 0 for never.
    pub password_max_age_days: u16,
}

/// A record after a step, and what became different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The record to store.
    pub record: Record,
    /// What became different; empty when nothing did.
    pub effects: Vec<Effect>,
}

/// One difference a step made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The record is new.
    Made,
    /// Older tickets are void.
    EpochRaised,
    /// The account can be used again.
    StandingRegained,
    /// A code waits to be handed over.
    CodeIssued,
    /// The outstanding code does not work any more.
    CodeWithdrawn,
    /// There is a new password.
    PasswordSet,
}

impl Record {
    /// The record of an account seen for the first time.
    ///
    /// The epoch starts at the clock, not at one: a record that had to be made anew, its file lost,
    /// still voids every ticket of the lost one.
    #[must_use]
    pub fn first(seen: &Observed, code: impl Fn(u64) -> Digest) -> Step {
        let record = Self {
            version: 1,
            epoch: u64::try_from(seen.at.0).unwrap_or(0).max(1),
            password: None,
            history: Vec::new(),
            password_at: 0,
            must_change: false,
            activation: None,
            issues: 0,
            reissued: 0,
            session_generation: seen.session_generation,
            standing: seen.standing,
            settled: Vec::new(),
        };
        let mut step = record.observe(seen, code);
        step.effects.insert(0, Effect::Made);
        step
    }

    /// Takes note of what the object says. `code` gives the digest of the account's n-th code.
    #[must_use]
    pub fn observe(&self, seen: &Observed, code: impl Fn(u64) -> Digest) -> Step {
        let mut record = self.clone();
        let mut effects = Vec::new();
        let revoked = seen.session_generation > self.session_generation;
        if revoked || (self.standing && !seen.standing) {
            record.epoch = self.epoch.saturating_add(1);
            effects.push(Effect::EpochRaised);
        }
        if !self.standing && seen.standing {
            effects.push(Effect::StandingRegained);
        }
        record.session_generation = self.session_generation.max(seen.session_generation);
        record.standing = seen.standing;
        if self.activation.as_ref().is_some_and(|activation| seen.at.0 >= activation.until) {
            record.activation = None;
            effects.push(Effect::CodeWithdrawn);
        }
        record.must_change |= seen.at >= self.password_due(seen.password_max_age_days);
        // An expired code is not followed by another by itself: 72 hours would mean nothing.
        let first = self.issues == 0 && self.password.is_none();
        let again = seen.reissue > self.reissued;
        if seen.standing && (first || again) {
            record.issues = self.issues.saturating_add(1);
            record.reissued = self.reissued.max(seen.reissue);
            record.activation = Some(Activation {
                issue: record.issues,
                digest: code(record.issues),
                until: seen.at.plus(activation::HOURS * 3_600).0,
            });
            effects.push(Effect::CodeIssued);
        }
        record.counted_since(self, effects)
    }

    /// Does what a gateway asked for, or says why not. An intent settled before changes nothing.
    pub fn intend(&self, intent: &Intent, now: Timestamp) -> Result<Step, Code> {
        let name = format!("{:032x}", intent.id.0);
        if self.settled.iter().any(|settled| settled.intent == name) {
            return Ok(Step { record: self.clone(), effects: Vec::new() });
        }
        if !self.standing {
            return Err(Code::IntentRefused);
        }
        if intent.replaces != self.version {
            return Err(Code::CredentialChanged);
        }
        let mut record = self.clone();
        let mut effects = vec![Effect::PasswordSet, Effect::EpochRaised];
        let password = match &intent.action {
            IntentAction::Activate { code, password } => {
                let fits = self.activation.as_ref().is_some_and(|activation| {
                    now.0 < activation.until
                        && constant_time::verify_slices_are_equal(&activation.digest, code).is_ok()
                });
                if !fits {
                    return Err(Code::ActivationRefused);
                }
                record.activation = None;
                effects.push(Effect::CodeWithdrawn);
                password
            }
            IntentAction::ChangePassword { password } => {
                if self.password.is_none() {
                    return Err(Code::IntentRefused);
                }
                password
            }
        };
        if !password.starts_with(PHC_PREFIX) || password.len() > PHC_BYTES_MAX {
            return Err(Code::IntentRefused);
        }
        if let Some(previous) = record.password.replace(password.clone()) {
            record.history.insert(0, previous);
            // The present password counts as one of those that may not be used again.
            record.history.truncate(Credential::HISTORY_MAX - 1);
        }
        record.password_at = now.0;
        record.must_change = false;
        record.epoch = self.epoch.saturating_add(1);
        let mut step = record.counted_since(self, effects);
        step.record.settled.insert(0, Settled { intent: name, version: step.record.version });
        step.record.settled.truncate(SETTLED_MAX);
        Ok(step)
    }

    /// The version an intent led to, if it was settled here.
    #[must_use]
    pub fn settled(&self, intent: &Intent) -> Option<u64> {
        let name = format!("{:032x}", intent.id.0);
        self.settled.iter().find(|settled| settled.intent == name).map(|settled| settled.version)
    }

    /// Catches up with an epoch that was published but whose record was not stored before a crash.
    #[must_use]
    pub fn at_least_epoch(&self, published: u64) -> Step {
        let mut record = self.clone();
        if published <= self.epoch {
            return Step { record, effects: Vec::new() };
        }
        record.epoch = published;
        record.counted_since(self, vec![Effect::EpochRaised])
    }

    /// What gateways are told.
    #[must_use]
    pub fn published(&self) -> Credential {
        Credential {
            version: self.version,
            epoch: self.epoch,
            password: self.password.clone(),
            history: self.history.clone(),
            must_change: self.must_change,
            activation: self.activation.as_ref().map(|activation| activation.digest),
            activation_until: Timestamp(self.activation.as_ref().map_or(0, |activation| activation.until)),
        }
    }

    /// The outstanding code.
    #[must_use]
    pub fn activation(&self) -> Option<&Activation> {
        self.activation.as_ref()
    }

    /// Whether the account could be used when it was last observed.
    #[must_use]
    pub fn has_standing(&self) -> bool {
        self.standing
    }

    /// Whether a password was ever set.
    #[must_use]
    pub fn activated(&self) -> bool {
        self.password.is_some()
    }

    /// When time alone changes the record next.
    #[must_use]
    pub fn holds_until(&self, password_max_age_days: u16) -> Timestamp {
        let due = if self.must_change { Timestamp::NEVER } else { self.password_due(password_max_age_days) };
        self.activation.as_ref().map_or(due, |activation| due.min(activation.until()))
    }

    fn password_due(&self, max_age_days: u16) -> Timestamp {
        match (&self.password, max_age_days) {
            (None, _) | (_, 0) => Timestamp::NEVER,
            (Some(_), days) => Timestamp(self.password_at).plus(i64::from(days) * 86_400),
        }
    }

    /// Raises the version when anything gateways are told became different.
    fn counted_since(mut self, previous: &Self, effects: Vec<Effect>) -> Step {
        if self.published() != previous.published() {
            self.version = previous.version.saturating_add(1);
        }
        Step { record: self, effects }
    }
}

impl Activation {
    /// When the code stops working.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        Timestamp(self.until)
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Hashes stay out of logs even when somebody prints a whole record.
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("epoch", &self.epoch)
            .field("standing", &self.standing)
            .field("activated", &self.password.is_some())
            .finish_non_exhaustive()
    }
}

mod hex_digest {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::digest::{Digest, hex, parse_hex};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text).ok_or_else(|| de::Error::custom("not 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests;
