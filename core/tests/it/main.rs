//! The rules, held against naive models of themselves.

mod account;
mod decide;
mod id;
mod names;
mod net;
mod session;
mod time;
mod world;
