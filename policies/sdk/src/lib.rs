//! What the author of a custom policy module will link against; empty for now.
//!
//! Custom modules (class B: a department's own WebAssembly component of the world `tidegate:policy`,
//! run in a helper process) do not exist yet: a policy that names one is refused with `TG-7005`. When
//! they do, this crate holds the WIT package and the Rust types made from it. Rules in AccessPolicy
//! objects need nothing of this; see `docs/guide/rules.md`.
