//! Login, sessions, portal and proxy: ask, enforce, record.
//!
//! ```text
//!  listener -- TLS -- http -- route --+--> portal   (login, pages)
//!  (one per shard)                    +--> entry -- decide -- proxy -- upstream
//!            \-- "CONNECT " --> tunnel -- packets, flows -- decide -- dial
//!                                                      |        |
//!                                              recorder, live flows (cut when the answer changes)
//!  control thread: store --> View --> shards; calls of shards --> store; acks, session reports
//! ```
//!
//! One shard per processor: an OS thread with its own listener, sessions, flows and upstream connections.
//! A shard never waits for the store or the disk.

pub mod body;
pub mod clock;
pub mod config;
pub mod control;
pub mod cookie;
mod drain;
mod entry;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod handshake;
pub mod hash;
pub mod health;
mod http;
pub mod identity;
pub mod keys;
mod listener;
pub mod live;
mod login;
pub mod metrics;
mod metrics_endpoint;
mod pages;
mod password;
mod path;
mod portal;
pub mod program;
mod proxy;
pub mod recorder;
mod route;
pub mod session;
mod shard;
pub mod shared;
mod text;
pub mod ticket;
mod tls;
mod tunnel;
mod upstream;

pub use config::{DialMap, GatewayConfig, Limits, system_roots};
pub use gateway::{Gateway, Running};
