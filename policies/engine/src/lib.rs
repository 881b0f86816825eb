//! Runs one policy module within limits.
