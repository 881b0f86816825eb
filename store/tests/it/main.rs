//! The store from outside.

mod audit;
mod conformance;
mod etcd;
mod golden;
mod wire;
