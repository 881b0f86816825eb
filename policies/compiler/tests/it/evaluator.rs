//! What the committed evaluator promises its hosts, read from its bytes.

use std::collections::BTreeMap;

use tidegate_policy_evaluator::WASM;
use tidegate_policy_evaluator::layout::{OWN_DATA_BASE, STACK_END, STACK_USED, TABLE_BASE};
use wasmparser::{DataKind, ExternalKind, Operator, Parser, Payload};

/// A function: bytes of shadow stack it takes, functions it calls.
#[derive(Default)]
struct Function {
    frame: u32,
    calls: Vec<u32>,
}

fn functions() -> Vec<Function> {
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(WASM) {
        let Payload::CodeSectionEntry(body) = payload.expect("a readable module") else { continue };
        let mut function = Function::default();
        let operators: Vec<_> = body
            .get_operators_reader()
            .expect("operators")
            .into_iter()
            .collect::<Result<_, _>>()
            .expect("operators");
        for window in operators.windows(3) {
            if let [Operator::GlobalGet { global_index: 0 }, Operator::I32Const { value }, Operator::I32Sub] =
                window
            {
                function.frame = function.frame.max(u32::try_from(*value).expect("a size"));
            }
        }
        for operator in &operators {
            match operator {
                Operator::Call { function_index } => function.calls.push(*function_index),
                Operator::CallIndirect { .. } => panic!("a call no host can foresee"),
                _ => {}
            }
        }
        functions.push(function);
    }
    functions
}

/// The deepest stack below a function; panics on recursion.
fn deepest(functions: &[Function], index: usize, path: &mut Vec<usize>) -> u32 {
    assert!(!path.contains(&index), "function {index} calls itself");
    path.push(index);
    let function = &functions[index];
    let below = function.calls.iter().map(|call| deepest(functions, *call as usize, path)).max();
    path.pop();
    function.frame + below.unwrap_or(0)
}

#[test]
fn no_call_writes_more_of_the_shadow_stack_than_the_watermark_says() {
    let functions = functions();
    let deepest = (0..functions.len()).map(|index| deepest(&functions, index, &mut Vec::new())).max();
    println!("deepest stack: {deepest:?} bytes");
    assert!(deepest.expect("functions") <= STACK_USED);
}

#[test]
fn it_imports_nothing_and_exports_what_its_documentation_says() {
    let mut exports = BTreeMap::new();
    for payload in Parser::new(0).parse_all(WASM) {
        match payload.expect("a readable module") {
            Payload::ImportSection(reader) => assert_eq!(reader.count(), 0),
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.expect("an export");
                    exports.insert(export.name.to_owned(), export.kind);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory.expect("a memory");
                    assert_eq!(memory.initial * 65_536, u64::from(TABLE_BASE));
                    assert_eq!(memory.maximum, Some(memory.initial));
                }
            }
            Payload::GlobalSection(reader) => {
                let globals: Vec<_> = reader.into_iter().collect::<Result<_, _>>().expect("globals");
                let stack = globals.first().expect("the stack pointer");
                let start = stack.init_expr.get_operators_reader().read().expect("a constant");
                assert_eq!(start, Operator::I32Const { value: STACK_END as i32 });
                assert!(globals.iter().skip(1).all(|global| !global.ty.mutable));
            }
            Payload::DataSection(reader) => {
                for segment in reader {
                    let segment = segment.expect("a segment");
                    let DataKind::Active { offset_expr, .. } = segment.kind else {
                        panic!("a passive segment")
                    };
                    let Operator::I32Const { value } =
                        offset_expr.get_operators_reader().read().expect("a constant")
                    else {
                        panic!("an offset that is not constant")
                    };
                    let end = value as u32 + segment.data.len() as u32;
                    assert!(value as u32 >= OWN_DATA_BASE && end <= TABLE_BASE);
                }
            }
            _ => {}
        }
    }
    let functions =
        ["abi", "evaluate", "request_base", "request_size", "scratch_base", "scratch_size", "table_base"];
    let mut expected: BTreeMap<_, _> =
        functions.map(|name| (name.to_owned(), ExternalKind::Func)).into_iter().collect();
    expected.insert("memory".into(), ExternalKind::Memory);
    for constant in ["__data_end", "__heap_base"] {
        expected.insert(constant.into(), ExternalKind::Global);
    }
    assert_eq!(exports, expected);
}

#[test]
fn its_bytes_hold_no_path_and_no_message() {
    for text in ["/home", "/usr", ".rs", "panicked", "index out of"] {
        assert!(!WASM.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
}
