//! Proofs that nothing a module contains or does reaches beyond its own department.

mod class_a;
mod sandbox;
mod stateless;
mod support;
