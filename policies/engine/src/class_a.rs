//! The class A check: only the data differs.
//!
//! A class A module is an evaluator this gateway carries plus tables. That is checked by comparison,
//! not by looking at what its instructions do: program, globals, exports and the evaluator's own
//! constants must be the same bytes, its one memory must be of fixed size, and every other segment
//! must lie in the table window, which the evaluator never writes.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

use crate::layout::Layout;
use crate::library::Digest;
use crate::limits::{DATA_SEGMENTS, MEMORY_BYTES, MODULE_BYTES};
use crate::load_error::LoadError;
use crate::sections::Sections;

const PAGE: u64 = 64 * 1024;

/// An evaluator modules may be made of.
pub(crate) struct Carried {
    sections: Sections<'static>,
    layout: Layout,
}

impl Carried {
    /// Takes a release's evaluator apart.
    pub(crate) fn new(wasm: &'static [u8], layout: Layout) -> Result<Self, LoadError> {
        Ok(Self { sections: Sections::parse(wasm)?, layout })
    }
}

/// The evaluators of this release and, once there is one with another program, of the previous one.
static CARRIED: LazyLock<Vec<Carried>> = LazyLock::new(|| {
    let current = Carried::new(tidegate_policy_evaluator::WASM, Layout::CURRENT);
    // An evaluator that cannot be read is carried by nobody: every module is then refused.
    current.into_iter().collect()
});

/// SHA-256 of the evaluators this gateway carries, the newest first, for its acks.
#[must_use]
pub fn evaluator_digests() -> Vec<Digest> {
    let of = |wasm| digest(&SHA256, wasm).as_ref().first_chunk().copied();
    [tidegate_policy_evaluator::WASM].into_iter().filter_map(of).collect()
}

/// Checks `wasm` against the evaluators this gateway carries; the layout is that of the one it is made of.
pub(crate) fn check(wasm: &[u8]) -> Result<Layout, LoadError> {
    check_against(wasm, &CARRIED)
}

fn check_against(wasm: &[u8], carried: &[Carried]) -> Result<Layout, LoadError> {
    if wasm.len() > MODULE_BYTES {
        return Err(LoadError::TooLarge(wasm.len()));
    }
    let module = Sections::parse(wasm)?;
    if module.segments.len() > DATA_SEGMENTS {
        return Err(LoadError::TooManySegments(module.segments.len()));
    }
    let mut refused = LoadError::Differs("code");
    for (age, evaluator) in carried.iter().enumerate() {
        match is_made_of(&module, evaluator) {
            Ok(()) => return Ok(evaluator.layout),
            // The newest evaluator's answer is the one that helps.
            Err(error) if age == 0 => refused = error,
            Err(_) => {}
        }
    }
    Err(refused)
}

fn is_made_of(module: &Sections<'_>, evaluator: &Carried) -> Result<(), LoadError> {
    module.same_program(&evaluator.sections)?;

    let [memory] = module.memories.as_slice() else { return Err(LoadError::Memory) };
    if memory.memory64 || memory.shared || memory.page_size_log2.is_some() {
        return Err(LoadError::Memory);
    }
    if memory.maximum != Some(memory.initial) {
        return Err(LoadError::MemoryNotFixed { minimum: memory.initial, maximum: memory.maximum });
    }
    let memory_bytes = memory.initial.saturating_mul(PAGE);
    if memory_bytes > MEMORY_BYTES as u64 {
        return Err(LoadError::TooMuchMemory(memory_bytes));
    }

    let own = &evaluator.sections.segments;
    let Some((constants, tables)) = module.segments.split_at_checked(own.len()) else {
        return Err(LoadError::Differs("constants"));
    };
    if constants
        .iter()
        .zip(own)
        .any(|(ours, theirs)| (ours.address, ours.bytes) != (theirs.address, theirs.bytes))
    {
        return Err(LoadError::Differs("constants"));
    }
    let window = evaluator.layout.table_base..memory_bytes;
    for (index, segment) in (own.len()..).zip(tables) {
        let range = segment.range().ok_or(LoadError::SegmentNotActive(index))?;
        if range.start < window.start || range.end > window.end {
            return Err(LoadError::SegmentOutside {
                index,
                from: range.start,
                to: range.end,
                window_from: window.start,
                window_to: window.end,
            });
        }
    }
    Ok(())
}
