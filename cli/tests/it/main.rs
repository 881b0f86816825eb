//! The `tidegate` binary, driven as people and scripts drive it.

mod audit;
mod check;
mod client;
mod cluster;
mod demo;
mod explain;
mod manifests;
mod process;
mod up;
