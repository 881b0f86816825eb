//! Live facts: intents, their outcomes, why a session ended.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use tidegate_core::session::EndReason;
use tidegate_core::{Code, DenyReason, Timestamp};

use super::common::{from_bytes, id, text, to_bytes};
use crate::wire::{bounds, unreadable};
use crate::{Intent, IntentAction, IntentId, Outcome, StoreResult};

#[derive(Encode, Decode)]
#[cbor(map)]
struct WireIntent<'b> {
    #[n(0)]
    id: ByteArray<16>,
    #[b(1)]
    account: std::borrow::Cow<'b, str>,
    #[b(2)]
    uid: &'b str,
    #[n(3)]
    replaces: u64,
    #[n(4)]
    at: i64,
    /// The new password's hash in PHC form.
    #[b(5)]
    password: &'b str,
    /// The digest of the activation code; without one it is a change of password.
    #[n(6)]
    activation: Option<ByteArray<32>>,
}

/// The bytes of an intent.
#[must_use]
pub fn encode_intent(intent: &Intent) -> Vec<u8> {
    let (activation, password) = match &intent.action {
        IntentAction::Activate { code, password } => (Some(ByteArray::from(*code)), password),
        IntentAction::ChangePassword { password } => (None, password),
    };
    to_bytes(&WireIntent {
        id: intent.id.0.to_be_bytes().into(),
        account: intent.account.to_string().into(),
        uid: intent.uid.as_str(),
        replaces: intent.replaces,
        at: intent.at.0,
        password,
        activation,
    })
}

/// An intent.
///
/// # Errors
/// When the bytes are not an intent within [`bounds`].
pub fn decode_intent(bytes: &[u8]) -> StoreResult<Intent> {
    let wire: WireIntent<'_> = from_bytes(bytes, bounds::FACT, "intent")?;
    let password = text(wire.password, bounds::NAME)?;
    Ok(Intent {
        id: IntentId(u128::from_be_bytes(*wire.id)),
        account: id(&wire.account)?,
        uid: id(wire.uid)?,
        replaces: wire.replaces,
        at: Timestamp(wire.at),
        action: match wire.activation {
            Some(code) => IntentAction::Activate { code: *code, password },
            None => IntentAction::ChangePassword { password },
        },
    })
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WireOutcome {
    #[n(0)]
    version: Option<u64>,
    #[n(1)]
    refused: Option<u16>,
}

/// The bytes of an outcome.
#[must_use]
pub fn encode_outcome(outcome: Outcome) -> Vec<u8> {
    to_bytes(&match outcome {
        Outcome::Done { version } => WireOutcome { version: Some(version), refused: None },
        Outcome::Refused(code) => WireOutcome { version: None, refused: Some(code as u16) },
    })
}

/// An outcome.
///
/// # Errors
/// When the bytes are not an outcome, or its code is not one of ours.
pub fn decode_outcome(bytes: &[u8]) -> StoreResult<Outcome> {
    let wire: WireOutcome = from_bytes(bytes, bounds::FACT, "outcome")?;
    match (wire.version, wire.refused) {
        (Some(version), None) => Ok(Outcome::Done { version }),
        (None, Some(number)) => Ok(Outcome::Refused(code(number)?)),
        _ => Err(unreadable("an outcome that is neither done nor refused")),
    }
}

fn code(number: u16) -> StoreResult<Code> {
    Code::ALL
        .iter()
        .copied()
        .find(|code| *code as u16 == number)
        .ok_or_else(|| unreadable(format_args!("code {number}")))
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WireEnded {
    /// The reason's code: stable, and unlike the enum's order never given a second meaning.
    #[n(0)]
    code: u16,
}

const PLAIN_REASONS: [EndReason; 8] = [
    EndReason::LoggedOut,
    EndReason::Replaced,
    EndReason::Kicked,
    EndReason::Idle,
    EndReason::Expired,
    EndReason::Revoked,
    EndReason::GatewayStale,
    EndReason::StoreReset,
];

/// The bytes of why a session ended.
#[must_use]
pub fn encode_ended(reason: EndReason) -> Vec<u8> {
    to_bytes(&WireEnded { code: reason.code() as u16 })
}

/// Why a session ended.
///
/// # Errors
/// When the bytes are not a reason we know.
pub fn decode_ended(bytes: &[u8]) -> StoreResult<EndReason> {
    let wire: WireEnded = from_bytes(bytes, bounds::FACT, "ended")?;
    PLAIN_REASONS
        .into_iter()
        .chain(DenyReason::ALL.iter().map(|reason| EndReason::Standing(*reason)))
        .find(|reason| reason.code() as u16 == wire.code)
        .ok_or_else(|| unreadable(format_args!("end reason {}", wire.code)))
}
