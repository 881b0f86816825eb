//! The gateway as browsers meet it: real sockets, real TLS, a real store.

mod browser;
mod handshake;
mod login;
mod portal;
mod world;
