//! The one program that runs inside class A policy modules: a pure function from a record of the
//! request and a department's tables to a verdict. `no_std`, no dependencies, no allocation.
//!
//! The same source is compiled natively (tests, and the constants and encoder the host uses) and to
//! wasm32 (`evaluator.wasm`, rebuilt by `policies/evaluator/rebuild`). The compiler appends a
//! department's tables to those bytes as data segments; nothing else differs between modules.
//!
//! # Memory of a module
//!
//! One memory, exported as `memory`, with minimum = maximum:
//!
//! | from | to | what | written by |
//! |---|---|---|---|
//! | 0 | 64 KiB | shadow stack, growing down from its end | the program |
//! | [`layout::REQUEST_BASE`] | + 16 KiB | request window: subject half, then request half 8 KiB later | the host |
//! | [`layout::SCRATCH_BASE`] | + 16 KiB | scratch; its first 32 bytes are the verdict | the program |
//! | [`layout::OWN_DATA_BASE`] | table base | the program's own constants | nobody |
//! | [`layout::TABLE_BASE`] | end | tables | nobody |
//!
//! # Exports
//!
//! | export | type | meaning |
//! |---|---|---|
//! | `memory` | memory | as above |
//! | `abi` | `() -> i32` | [`layout::ABI`], the version of the record layout |
//! | `request_base`, `request_size` | `() -> i32` | the request window |
//! | `scratch_base`, `scratch_size` | `() -> i32` | the scratch window |
//! | `table_base` | `() -> i32` | where tables begin |
//! | `evaluate` | `(subject_len: i32, request_len: i32) -> i64` | writes the verdict, returns the watermark |
//!
//! (The linker adds two constants, `__data_end` and `__heap_base`, which nobody uses.)
//!
//! The watermark's low 32 bits are the bytes of scratch that may have been written, counted from
//! `scratch_base`; its high 32 bits are the bytes of the shadow stack that may have been written,
//! counted down from 64 KiB. The host clears both before the next call. Anything malformed (a record
//! that is not `abi` 1, tables that point outside themselves) traps: the host denies.
//!
//! The export name `value` is reserved for tools and does not exist yet.
//!
//! # Record
//!
//! Two halves with fixed places, so that a host encodes the subject once per session and only the
//! request for each decision; see [`layout`] for every offset and [`encode`] for the one encoder.
//! Frozen as `abi` 1. The tables' format and the opcodes are not: they belong to the evaluator they
//! travel with.
//!
//! # What it decides
//!
//! For each rule of the asked side: *selecting* conditions (resource, labels, hosts; groups,
//! departments), then method/port/path, network, device, factor, schedule, then `when`. Which rules
//! are looked at is decided by an index on several levels ([`index`]); what they answer by [`rule`];
//! `when` runs as bytecode ([`eval`]). Denies win; among several the lowest index is reported.

#![no_std]

pub mod encode;
pub mod eval;
pub mod hash;
pub mod index;
pub mod layout;
pub mod observe;
pub mod op;
pub mod record;
pub mod rule;
pub mod schedule;
pub mod table;
pub mod verdict;

#[cfg(target_arch = "wasm32")]
mod wasm;

/// The committed bytes of this program as a module without tables; `rebuild --check` proves they are
/// this source's.
#[cfg(not(target_arch = "wasm32"))]
pub const WASM: &[u8] = include_bytes!("../evaluator.wasm");

use observe::Observe;
use verdict::Verdict;

/// The record or the tables are not what this program reads; the caller must deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Scratch words [`evaluate`] needs: the expression machine's stack, then the walk's.
pub const SCRATCH_WORDS: usize = eval::STACK_WORDS + index::STACK_WORDS;

/// Decides one request; gives the verdict and the words of `scratch` it may have written, which may
/// hold anything before.
///
/// # Errors
/// When the record or the tables are malformed, or `scratch` is smaller than [`SCRATCH_WORDS`].
#[inline]
pub fn evaluate<O: Observe>(
    tables: &[u8],
    subject: &[u8],
    request: &[u8],
    scratch: &mut [u64],
    observe: &mut O,
) -> Result<(Verdict, usize), Malformed> {
    let table = table::Table::open(tables).ok_or(Malformed)?;
    let record = record::Record::open(subject, request).ok_or(Malformed)?;
    let (values, walk) = scratch.split_at_mut_checked(eval::STACK_WORDS).ok_or(Malformed)?;
    let mut state = rule::State::new(values);
    let walked = index::walk(&table, &record, walk, &mut state, observe).ok_or(Malformed)?;
    // The watermark is one length: a walk that had to wait spans the expression stack before it.
    let used = if walked > 0 { eval::STACK_WORDS + walked } else { state.values_used };
    Ok((state.verdict(record.utc_minute()), used))
}

#[cfg(test)]
mod tests;
