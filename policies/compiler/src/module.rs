//! The evaluator's bytes with a department's tables appended.
//!
//! Every section is copied as it is but two: the memory grows (minimum = maximum) to hold the
//! tables, and the data section ends with one more segment, at [`TABLE_BASE`].

use tidegate_policy_evaluator::layout::TABLE_BASE;
use wasm_encoder::{ConstExpr, DataCountSection, DataSection, MemorySection, MemoryType, Module, RawSection};
use wasmparser::{BinaryReaderError, Chunk, DataKind, Operator, Parser, Payload};

const PAGE: usize = 65_536;

/// Why the evaluator's bytes could not be read; with the committed bytes this never happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEvaluator(pub String);

impl std::fmt::Display for BadEvaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the evaluator module cannot be read: {}", self.0)
    }
}

impl std::error::Error for BadEvaluator {}

impl From<BinaryReaderError> for BadEvaluator {
    fn from(error: BinaryReaderError) -> Self {
        Self(error.to_string())
    }
}

/// Joins an evaluator and tables to one module.
///
/// # Errors
/// When `evaluator` is not a module of the expected form.
pub fn emit(evaluator: &[u8], tables: &[u8]) -> Result<Vec<u8>, BadEvaluator> {
    let pages = (TABLE_BASE as usize + tables.len()).div_ceil(PAGE) as u64;
    let mut module = Module::new();
    let mut data = DataSection::new();
    let mut rest = evaluator;
    let mut parser = Parser::new(0);
    let mut data_written = false;
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
            return Err(BadEvaluator("it ends too early".into()));
        };
        let bytes = rest.get(..consumed).unwrap_or_default();
        rest = rest.get(consumed..).unwrap_or_default();
        match payload {
            Payload::MemorySection(_) => {
                let memory = MemoryType {
                    minimum: pages,
                    maximum: Some(pages),
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                };
                module.section(MemorySection::new().memory(memory));
            }
            Payload::DataCountSection { count, .. } => {
                module.section(&DataCountSection { count: count + 1 });
            }
            Payload::DataSection(reader) => {
                for segment in reader {
                    let segment = segment?;
                    let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else {
                        return Err(BadEvaluator("it has a passive segment".into()));
                    };
                    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                        return Err(BadEvaluator("a segment's offset is not a constant".into()));
                    };
                    data.active(0, &ConstExpr::i32_const(value), segment.data.iter().copied());
                }
                append(&mut module, &mut data, tables);
                data_written = true;
            }
            Payload::CodeSectionStart { range, size, .. } => {
                // The parser hands out function bodies one by one; the section is taken whole.
                let body = evaluator.get(range.start..range.end).unwrap_or_default();
                module.section(&RawSection { id: 10, data: body });
                rest = rest.get(size as usize..).unwrap_or_default();
                parser.skip_section();
            }
            Payload::Version { .. } | Payload::CustomSection(_) => {}
            Payload::End(_) => break,
            other => {
                let (id, range) = other
                    .as_section()
                    .ok_or_else(|| BadEvaluator(format!("unexpected part of {} bytes", bytes.len())))?;
                let body = evaluator.get(range.start..range.end).unwrap_or_default();
                module.section(&RawSection { id, data: body });
            }
        }
    }
    if !data_written {
        append(&mut module, &mut data, tables);
    }
    Ok(module.finish())
}

fn append(module: &mut Module, data: &mut DataSection, tables: &[u8]) {
    if !tables.is_empty() {
        data.active(0, &ConstExpr::i32_const(TABLE_BASE as i32), tables.iter().copied());
    }
    module.section(data);
}
