//! Proof of the rest: tidy, edges, real parts.
