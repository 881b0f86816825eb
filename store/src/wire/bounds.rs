//! How much a part may hold. A reader refuses more, whoever wrote it; a writer refuses to write it.

/// Accounts a shard is meant to hold; more shards are made above it.
pub const SHARD_ACCOUNTS: usize = 64;
/// Bytes a shard is meant to hold.
pub const SHARD_BYTES: usize = 100 * 1024;
/// Most bits of the shard number: 8,192 shards.
pub const SHARD_BITS: u32 = 13;
/// Bytes of one chunk of a stored part.
pub const CHUNK: usize = 512 * 1024;
/// Bytes of any part.
pub const PART: usize = 16 * 1024 * 1024;
/// Bytes of a manifest.
pub const MANIFEST: usize = 1024 * 1024;
/// Bytes of an intent, an outcome or another live fact.
pub const FACT: usize = 8 * 1024;
/// Bytes of a short text: a name, a label, a telephone number.
pub const NAME: usize = 1_024;
/// Bytes of a longer text: a notice, a description.
pub const TEXT: usize = 16 * 1024;
/// Bytes of a bundle of certificates.
pub const PEM: usize = 256 * 1024;
/// Entries of a list inside a record: groups, attributes, networks, zone transitions.
pub const LIST: usize = 1_024;
/// Accounts in one shard.
pub const ACCOUNTS_PER_SHARD: usize = 16 * 1024;
/// Resources of a department.
pub const RESOURCES: usize = 16 * 1024;
/// Rules of a department.
pub const RULES: usize = 64 * 1024;
