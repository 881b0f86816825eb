//! The class A check refuses every module that differs from an evaluator in more than its tables.

use tidegate_core::Code;
use tidegate_core::policy::Effect;
use tidegate_policy_evaluator::{WASM, layout};

use super::support::{Assembly, active, class_a, load, module, one_rule, section};
use crate::LoadError;
use crate::limits::{DATA_SEGMENTS, MEMORY_BYTES, MODULE_BYTES};

const PAGE: u32 = 0x1_0000;

fn refused(assembly: &Assembly) -> LoadError {
    load(&assembly.bytes()).expect_err("this module must be refused")
}

/// Flips one bit in the middle of a section.
fn altered(id: u8) -> Assembly {
    let mut assembly = class_a(Effect::Allow);
    let content = assembly.section(id);
    let middle = content.len() / 2;
    content[middle] ^= 1;
    assembly
}

#[test]
fn an_evaluator_with_tables_is_accepted() {
    assert_eq!(load(&class_a(Effect::Allow).bytes()), Ok(()));
    assert_eq!(load(&class_a(Effect::Deny).bytes()), Ok(()));
    let end = 3 * PAGE;
    let to_the_end = class_a(Effect::Allow).table(end - 4, &[1; 4]);
    assert_eq!(load(&to_the_end.bytes()), Ok(()));
}

#[test]
fn a_bare_evaluator_loads_but_answers_nothing() {
    let library = super::support::library();
    let bare = module(WASM, 1);
    library.load(&bare.digest, WASM).expect("it is class A");
    let mut worker = crate::Worker::new(library);
    let answer = super::support::Question::new("liqiang", "/").ask(&mut worker, &bare);
    assert_eq!(answer, Err(tidegate_core::policy::Fault::Trap), "there are no tables");
}

#[test]
fn other_code_is_refused() {
    let code = Assembly::evaluator().section(section::CODE).len();
    // Any bit anywhere, not only in the middle: every 500th byte stands for all.
    for at in (0..code).step_by(500) {
        let mut assembly = class_a(Effect::Allow);
        assembly.section(section::CODE)[at] ^= 0x10;
        let error = refused(&assembly);
        assert!(matches!(error, LoadError::Differs("code") | LoadError::NotWasm(_)), "{at}: {error}");
    }
}

#[test]
fn other_types_globals_and_exports_are_refused() {
    assert!(matches!(refused(&altered(section::TYPE)), LoadError::Differs("types") | LoadError::NotWasm(_)));
    assert!(matches!(refused(&altered(section::GLOBAL)), LoadError::Differs("globals")));
    assert!(matches!(refused(&altered(section::EXPORT)), LoadError::Differs("exports")));
}

#[test]
fn other_constants_are_refused() {
    let mut assembly = class_a(Effect::Allow);
    assembly.section(section::DATA)[20] ^= 1;
    assert_eq!(refused(&assembly), LoadError::Differs("constants"));
}

#[test]
fn missing_constants_are_refused() {
    let mut assembly = Assembly::evaluator().pages(3, 3);
    *assembly.section(section::DATA) = vec![0];
    assert_eq!(refused(&assembly), LoadError::Differs("constants"));
}

#[test]
fn segments_outside_the_table_window_are_refused() {
    let end = 3 * PAGE;
    for (address, length) in [
        (0, 1),
        (layout::REQUEST_BASE, 8),
        (layout::SCRATCH_BASE, 8),
        (layout::OWN_DATA_BASE, 8),
        (layout::TABLE_BASE - 1, 2),
        (end - 3, 4),
        (end, 1),
    ] {
        let error = refused(&class_a(Effect::Allow).table(address, &vec![1; length]));
        assert!(matches!(error, LoadError::SegmentOutside { index: 2, .. }), "{address:#x}: {error}");
    }
}

#[test]
fn segments_that_are_not_plain_are_refused() {
    let passive = class_a(Effect::Allow).segment(&[0x01], b"later");
    assert_eq!(refused(&passive), LoadError::SegmentNotActive(2));
    // At the address in global 1, which is a constant of the evaluator's.
    let computed = class_a(Effect::Allow).segment(&[0x00, 0x23, 0x01, 0x0b], b"where");
    assert_eq!(refused(&computed), LoadError::SegmentNotActive(2));
}

#[test]
fn a_memory_that_could_grow_or_is_not_plain_is_refused() {
    let tables = one_rule(Effect::Allow);
    let growing = Assembly::evaluator().pages(3, 4).table(layout::TABLE_BASE, &tables);
    assert_eq!(refused(&growing), LoadError::MemoryNotFixed { minimum: 3, maximum: Some(4) });

    let mut endless = class_a(Effect::Allow);
    *endless.section(section::MEMORY) = vec![1, 0, 3];
    assert_eq!(refused(&endless), LoadError::MemoryNotFixed { minimum: 3, maximum: None });

    for (content, what) in [
        (vec![2, 1, 3, 3, 1, 1, 1], "two memories"),
        (vec![0], "no memory"),
        (vec![1, 3, 3, 3], "shared"),
        (vec![1, 5, 3, 3], "64-bit"),
        (vec![1, 9, 3, 3, 0], "pages of one byte"),
    ] {
        let mut other = class_a(Effect::Allow);
        *other.section(section::MEMORY) = content;
        assert_eq!(refused(&other), LoadError::Memory, "{what}");
    }
}

#[test]
fn what_evaluators_do_not_have_is_refused_by_name() {
    // import "a" "b" (func (type 0))
    let imports = class_a(Effect::Allow).with(2, &[1, 1, b'a', 1, b'b', 0, 0]);
    assert_eq!(refused(&imports), LoadError::Unexpected("imports"));
    let start = class_a(Effect::Allow).with(section::START, &[8]);
    assert_eq!(refused(&start), LoadError::Unexpected("a start function"));
    let custom = class_a(Effect::Allow).with(section::CUSTOM, b"\x04note");
    assert_eq!(refused(&custom), LoadError::Unexpected("custom sections"));
    let globals = Assembly::evaluator().section(section::GLOBAL).clone();
    let twice = class_a(Effect::Allow).with(section::GLOBAL, &globals);
    assert!(matches!(
        refused(&twice),
        LoadError::Unexpected("the same section twice") | LoadError::NotWasm(_)
    ));
}

#[test]
fn too_large_is_refused_with_its_own_code() {
    let pages = MEMORY_BYTES as u32 / PAGE + 1;
    let memory = Assembly::evaluator().pages(pages, pages);
    let error = refused(&memory);
    assert!(matches!(error, LoadError::TooMuchMemory(_)), "{error}");
    assert_eq!(error.code(), Code::ModuleTooLarge);

    let bytes = Assembly::evaluator().pages(128, 128).table(layout::TABLE_BASE, &vec![1; MODULE_BYTES]);
    let error = refused(&bytes);
    assert!(matches!(error, LoadError::TooLarge(_)), "{error}");
    assert_eq!(error.code(), Code::ModuleTooLarge);

    let mut many = class_a(Effect::Allow);
    let data = many.section(section::DATA);
    let added = DATA_SEGMENTS as u32;
    // Their number as two bytes of LEB128 instead of one.
    let count = u32::from(data[0]) + added;
    data.splice(..1, [(count & 0x7f) as u8 | 0x80, (count >> 7) as u8]);
    for _ in 0..added {
        data.extend(active(layout::TABLE_BASE));
        data.push(0);
    }
    let error = refused(&many);
    assert_eq!(error, LoadError::TooManySegments(DATA_SEGMENTS + 2));
    assert_eq!(error.code(), Code::ModuleTooLarge);
}

#[test]
fn bytes_under_a_foreign_name_are_refused() {
    let library = super::support::library();
    let allow = class_a(Effect::Allow).bytes();
    let deny = module(&class_a(Effect::Deny).bytes(), 1);
    assert_eq!(library.load(&deny.digest, &allow), Err(LoadError::WrongDigest));
    assert!(!library.holds(&deny.digest));
}

#[test]
fn rubbish_is_refused() {
    let whole = class_a(Effect::Allow).bytes();
    for wasm in [&[][..], b"\0asm", b"not a module at all", &whole[..whole.len() - 1]] {
        let error = load(wasm).expect_err("rubbish");
        assert_eq!(error.code(), Code::ModuleRefused);
    }
}

#[test]
fn foreign_programs_are_refused() {
    for (wat, reason) in [
        (include_str!("../../../fixtures/imports_a_function.wat"), LoadError::Unexpected("imports")),
        (include_str!("../../../fixtures/start_function.wat"), LoadError::Unexpected("a start function")),
        (include_str!("../../../fixtures/answers_nothing.wat"), LoadError::Differs("code")),
        (include_str!("../../../fixtures/endless_loop.wat"), LoadError::Differs("code")),
        (include_str!("../../../fixtures/two_memories.wat"), LoadError::Differs("code")),
        (include_str!("../../../fixtures/exceptions.wat"), LoadError::Unexpected("exception tags")),
    ] {
        assert_eq!(load(&wat::parse_str(wat).expect("a fixture")), Err(reason));
    }
}
