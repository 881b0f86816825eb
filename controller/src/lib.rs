//! Objects in, snapshots, credentials and status out.

pub mod activation;
pub mod credentials;
mod digest;
pub mod identity;
pub mod metrics;
pub mod objects;
pub mod state;
