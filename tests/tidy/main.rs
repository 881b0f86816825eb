//! What every file of the repository keeps to. Each module is one habit, says why, and finds where it is broken.

mod codes;
mod links;
mod members;
mod metrics;
mod panics;
mod size;
mod words;
