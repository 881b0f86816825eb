//! Objects in, snapshots, credentials and status out.
