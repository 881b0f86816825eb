//! Wire format, version 1. Each `decode_*` takes any bytes and gives a core value or an error.
//!
//! Integer keys are never given a second meaning. A reader skips keys it does not know; a change it must
//! not skip raises `min_reader` in the manifest. No field is an optional enum, since an unknown variant of
//! one would read as absent.

mod account;
mod common;
mod fact;
mod live;
mod manifest;
mod resource;
mod settings;

pub use account::{decode_accounts, encode_accounts};
pub use fact::{decode_ended, decode_intent, decode_outcome, encode_ended, encode_intent, encode_outcome};
pub use live::{
    Head, Timed, decode_ack, decode_head, decode_sessions, decode_timed, encode_ack, encode_head,
    encode_sessions, encode_timed,
};
pub use manifest::{
    Manifest, Part, PolicyParts, decode_manifest, decode_rules, encode_manifest, encode_rules,
};
pub use resource::{decode_resources, encode_resources};
pub use settings::{decode_platform, decode_settings, encode_platform, encode_settings};
