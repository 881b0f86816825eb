//! The compiled tables against the reference evaluator.

mod differential;
mod native;
