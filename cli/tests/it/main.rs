//! The `tidegate` binary, driven as people and scripts drive it.

mod audit;
mod client;
mod demo;
mod explain;
mod manifests;
mod process;
mod up;
