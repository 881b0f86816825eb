//! The gateway as browsers meet it: real sockets, real TLS, a real store.

mod browser;
mod cut;
mod edge;
mod handshake;
mod login;
mod portal;
mod proxy;
mod systems;
mod wire;
mod world;
