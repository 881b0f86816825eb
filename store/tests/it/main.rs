//! The store from outside.

mod audit;
mod conformance;
mod golden;
mod wire;
