//! Why a module was refused, in words and as a code.

use tidegate_core::Code;

use crate::limits::{DATA_SEGMENTS, MEMORY_BYTES, MODULE_BYTES, MODULES};

/// Why a module was refused. Nothing of it has run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// More bytes than [`MODULE_BYTES`].
    #[error("the module has {0} bytes; at most {MODULE_BYTES} are loaded")]
    TooLarge(usize),
    /// More memory than [`MEMORY_BYTES`].
    #[error("the module asks for {0} bytes of memory; at most {MEMORY_BYTES} are given")]
    TooMuchMemory(u64),
    /// More segments than [`DATA_SEGMENTS`].
    #[error("the module has {0} data segments; at most {DATA_SEGMENTS} are loaded")]
    TooManySegments(usize),
    /// This process already keeps [`MODULES`] modules.
    #[error("{MODULES} modules are loaded already")]
    TooManyModules,
    /// The bytes are not the ones that were published under this digest.
    #[error("the module's bytes do not have its digest")]
    WrongDigest,
    /// Not a WASM module at all.
    #[error("not a WASM module: {0}")]
    NotWasm(String),
    /// A part class A modules do not have.
    #[error("the module has {0}, which class A modules do not have")]
    Unexpected(&'static str),
    /// A part that must equal the evaluator's and does not.
    #[error("the module's {0} differ from those of every evaluator this gateway carries")]
    Differs(&'static str),
    /// Not exactly one 32-bit memory.
    #[error("the module must have exactly one plain 32-bit memory")]
    Memory,
    /// A memory that could grow.
    #[error(
        "the module's memory must have equal minimum and maximum; it has {minimum} and {maximum:?} pages"
    )]
    MemoryNotFixed {
        /// Pages at start.
        minimum: u64,
        /// Pages at most, if it says so.
        maximum: Option<u64>,
    },
    /// A passive segment, or one whose place is computed.
    #[error("data segment {0} is not an active one with a fixed address")]
    SegmentNotActive(usize),
    /// A segment that would write outside the table window.
    #[error("data segment {index} covers {from}..{to}, outside the table window {window_from}..{window_to}")]
    SegmentOutside {
        /// Which segment.
        index: usize,
        /// First address it covers.
        from: u64,
        /// First address after it.
        to: u64,
        /// First address of the window.
        window_from: u64,
        /// First address after the window.
        window_to: u64,
    },
    /// Exports or ABI are not what the engine calls.
    #[error("the module does not offer the calls of this ABI: {0}")]
    Abi(String),
    /// wasmtime did not accept it.
    #[error("the module cannot be compiled: {0}")]
    NotCompiled(String),
}

impl LoadError {
    /// The code under which it is documented.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge(_) | Self::TooMuchMemory(_) | Self::TooManySegments(_) => Code::ModuleTooLarge,
            _ => Code::ModuleRefused,
        }
    }
}
