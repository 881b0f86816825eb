//! Login, sessions, portal and proxy: ask, enforce, record.

pub mod hash;
pub mod keys;
mod pages;
mod password;
mod text;
pub mod ticket;
