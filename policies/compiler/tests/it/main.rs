//! The compiled tables against the reference evaluator, and the evaluator's promises.

mod differential;
mod evaluator;
mod native;
mod shapes;
