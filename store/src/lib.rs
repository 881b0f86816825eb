//! What controller and gateways tell each other: trait, wire format v1, backends.
