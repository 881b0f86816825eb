//! Objects in, snapshots, credentials and status out.
//!
//! ```text
//!  folder ----Reading----> run (one round) ----Publication----> store
//!                            |    ^   |
//!                   status  <+    |   +-> credentials, uids, last-good   (STATE)
//!                               intents
//! ```

pub mod activation;
pub mod admin;
pub mod build;
pub mod cluster;
pub mod credentials;
mod digest;
pub mod events;
pub mod explain;
pub mod fleet;
pub mod folder;
pub mod form;
pub mod identity;
pub mod intake;
pub mod last_good;
pub mod metrics;
pub mod objects;
pub mod people;
pub mod propagation;
pub mod publish;
pub mod rules;
pub mod run;
pub mod state;
pub mod status;
pub mod time;

pub use events::{ControllerEvent, Problem};
pub use run::{Config, Handle, StartError, start};
pub use state::{State, StateError};
