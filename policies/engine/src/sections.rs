//! A WASM binary taken apart into the pieces the class A check compares.

use std::ops::Range;

use wasmparser::{DataKind, MemoryType, Operator, Parser, Payload};

use crate::load_error::LoadError;

/// Section numbers of the WASM binary format, and what to call them in an error.
const NAMES: [&str; 14] = [
    "custom sections",
    "types",
    "imports",
    "functions",
    "tables",
    "memories",
    "globals",
    "exports",
    "a start function",
    "elements",
    "code",
    "data",
    "a data count",
    "exception tags",
];

/// Most segments looked at before giving up; far above what any check accepts.
const SEGMENTS_PARSED: usize = 65_536;

/// The pieces of one module.
pub(crate) struct Sections<'a> {
    /// Contents of the sections that are compared as bytes, by section number.
    fixed: [Option<&'a [u8]>; NAMES.len()],
    /// Memories, in order.
    pub(crate) memories: Vec<MemoryType>,
    /// Data segments, in order.
    pub(crate) segments: Vec<Segment<'a>>,
}

/// One data segment.
pub(crate) struct Segment<'a> {
    /// Where it goes; `None` when it is passive or its address is computed.
    pub(crate) address: Option<u32>,
    /// What goes there.
    pub(crate) bytes: &'a [u8],
}

impl Segment<'_> {
    /// The addresses it covers.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        let from = u64::from(self.address?);
        Some(from..from + self.bytes.len() as u64)
    }
}

impl<'a> Sections<'a> {
    /// Takes `wasm` apart. Only framing is judged here: wasmtime validates what passes.
    pub(crate) fn parse(wasm: &'a [u8]) -> Result<Self, LoadError> {
        let broken = |error: wasmparser::BinaryReaderError| LoadError::NotWasm(error.to_string());
        let mut sections = Self { fixed: [None; NAMES.len()], memories: Vec::new(), segments: Vec::new() };
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(broken)?;
            match &payload {
                Payload::MemorySection(memories) => {
                    for memory in memories.clone() {
                        sections.memories.push(memory.map_err(broken)?);
                    }
                }
                Payload::DataSection(segments) => {
                    for segment in segments.clone().into_iter().take(SEGMENTS_PARSED) {
                        let segment = segment.map_err(broken)?;
                        let address = address(&segment.kind).map_err(broken)?;
                        sections.segments.push(Segment { address, bytes: segment.data });
                    }
                }
                _ => {}
            }
            let Some((number, range)) = payload.as_section() else { continue };
            let (Some(slot), Some(bytes)) = (sections.fixed.get_mut(usize::from(number)), wasm.get(range))
            else {
                return Err(LoadError::Unexpected("an unknown section"));
            };
            if slot.replace(bytes).is_some() {
                return Err(LoadError::Unexpected("the same section twice"));
            }
        }
        Ok(sections)
    }

    /// Checks that everything but memory and data equals `evaluator`'s, byte for byte.
    pub(crate) fn same_program(&self, evaluator: &Self) -> Result<(), LoadError> {
        // From the end, since differing code says more than differing types.
        let compared = || {
            let both = self.fixed.iter().zip(&evaluator.fixed).zip(NAMES).rev();
            both.filter(|(_, name)| !["memories", "data", "a data count"].contains(name))
        };
        // What should not be there at all tells more than what looks different.
        for ((ours, theirs), name) in compared() {
            if ours.is_some() && theirs.is_none() {
                return Err(LoadError::Unexpected(name));
            }
        }
        for ((ours, theirs), name) in compared() {
            if ours != theirs {
                return Err(LoadError::Differs(name));
            }
        }
        Ok(())
    }
}

/// The address of an active segment of memory 0 that says it as a plain constant.
fn address(kind: &DataKind<'_>) -> Result<Option<u32>, wasmparser::BinaryReaderError> {
    let DataKind::Active { memory_index: 0, offset_expr } = kind else { return Ok(None) };
    let mut operators = offset_expr.get_operators_reader();
    let first = operators.read()?;
    let second = operators.read()?;
    match (first, second) {
        (Operator::I32Const { value }, Operator::End) if operators.eof() => Ok(Some(value.cast_unsigned())),
        _ => Ok(None),
    }
}
