//! The kinds from outside: generated files, validation, conversion.

mod convert;
mod generated;
mod support;
mod validate;
