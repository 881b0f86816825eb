//! The rules, held against naive models of themselves.

mod account;
mod decide;
mod id;
mod net;
mod session;
mod time;
mod world;
