//! What is written and read between controller and gateways: deterministic CBOR with integer keys.
//!
//! ```text
//!  Department --pack--> parts (settings, account shards, resources, module, rule names) + manifest
//!  Department <-unpack- the same bytes, checked by digest, ids parsed again, everything bounded
//! ```
//!
//! Wire types are not core types: core may change its shape, bytes that were published may not. Equal
//! input gives equal bytes, so comparing digests tells whether anything has to be written at all.

pub mod bounds;
mod pack;
pub mod v1;

pub use pack::{Blobs, Packed, Previous, pack_department, pack_platform, unpack_department, unpack_platform};

use aws_lc_rs::digest::{SHA256, digest};

use crate::StoreError;

/// The newest manifest this code understands; a manifest names the oldest reader it can do with.
pub const READER: u32 = 1;

/// SHA-256 of a part: its name.
pub type Digest = [u8; 32];

/// The name of a part with these bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut name = Digest::default();
    for (to, from) in name.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    name
}

/// The error for bytes that are not what they should be.
pub(crate) fn unreadable(why: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(why.to_string())
}
