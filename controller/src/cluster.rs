//! The controller inside a cluster: objects from the Kubernetes API, truth kept in its Secrets and
//! ConfigMaps, conditions written back to the objects.
//!
//! ```text
//!  API server --watch--> objects --Reading--> run (the same rounds as for a folder)
//!       ^                                      |
//!       +---- keep: credentials, last good, register, activation codes
//!       +---- status: conditions        +---- finalizers: deletion returns when it is in force
//! ```

pub mod admission;
pub mod apply;
pub mod call;
pub mod children;
pub mod client;
pub mod departments;
pub mod endpoint;
mod finalizers;
pub mod gateways;
pub mod keep;
pub mod labels;
pub mod lead;
pub mod lease;
pub mod objects;
mod patches;
pub mod pki;
pub mod presence;
pub mod publishing;
mod raw;
pub mod ring;
pub mod secrets;
pub mod settings;
mod status;
pub mod term;
#[cfg(test)]
mod tests;

pub use keep::Keep;

/// The name under which the controller owns fields of objects.
pub const FIELD_MANAGER: &str = "tidegate-controller";
