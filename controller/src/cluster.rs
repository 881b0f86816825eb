//! The controller inside a cluster: objects from the Kubernetes API, truth kept in its Secrets and
//! ConfigMaps, conditions written back to the objects.
//!
//! ```text
//!  API server --watch--> objects --Reading--> run (the same rounds as for a folder)
//!       ^                                      |
//!       +---- keep: credentials, last good, register, activation codes
//!       +---- status: conditions        +---- finalizers: deletion returns when it is in force
//! ```

pub mod client;

/// The name under which the controller owns fields of objects.
pub const FIELD_MANAGER: &str = "tidegate-controller";
