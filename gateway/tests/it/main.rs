//! The gateway as browsers meet it: real sockets, real TLS, a real store.

mod balancer;
mod browser;
mod client;
mod cut;
mod drain;
mod edge;
mod handshake;
mod login;
mod pool;
mod portal;
mod proxy;
mod systems;
mod together;
mod tunnel;
mod wire;
mod world;
