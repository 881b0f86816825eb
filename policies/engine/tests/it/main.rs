//! The engine as a gateway uses it.

mod differential;
