//! The controller as a whole: a real state directory, a real store, real threads.

mod cluster;
mod crash;
mod examples;
mod folder;
mod loops;
mod manifests;
mod world;
