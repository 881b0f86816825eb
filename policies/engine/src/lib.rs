//! Runs policy modules within limits, and nothing but modules made of an evaluator this release carries.
//!
//! ```text
//!  control thread:  Library::load --> class A check --> compile --> trial instance
//!                        |
//!  shard:  Worker::evaluate --> reused instance --> write record, call, read verdict, wipe
//!                                     ^
//!  ticker thread: 1 ms tick ----------+  interrupts a call that used up its CPU budget
//! ```
//!
//! A module that cannot be loaded, traps, runs away or answers nonsense costs its own department its
//! decisions (they are denied, each with a reason of its own) and nobody else anything. [`limits`] holds every bound.

mod budget;
mod class_a;
mod engine;
mod instance;
mod layout;
mod library;
pub mod limits;
mod load_error;
mod quarantine;
mod sections;
mod subject;
mod ticker;
mod worker;

#[cfg(test)]
mod tests;

pub use class_a::evaluator_digests;
pub use engine::{Engine, EngineError};
pub use library::{Digest, Library};
pub use load_error::LoadError;
pub use subject::PreparedSubject;
pub use worker::Worker;
