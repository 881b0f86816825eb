//! Stock clients of the OpenConnect family against our own programs. The rows of the wire cases:
//!
//! | Row | What | Where |
//! |---|---|---|
//! | 1–5, 7 | login: XML, forms, wrong password, locked, group, forced change | [`login`] |
//! | 8, 10 | state across gateways; bodies no client sends | the gateway's own tests |
//! | 6, 12 | second factor, single sign-on | no such factor yet |
//! | 13 | the dialogue of NetworkManager | by hand |
//!
//! Needs Debian's `openconnect`. What is missing is said aloud; with `CI` set it is a failure.

mod client;
mod lab;
mod lock;
mod login;
mod served;
mod session;
