//! The module's exports: raw memory becomes slices here and nowhere else.
#![expect(unsafe_code, reason = "exported functions over this module's own fixed memory windows")]

use crate::layout::{
    ABI, HALF_SIZE, REQUEST_BASE, REQUEST_SIZE, SCRATCH_BASE, SCRATCH_SIZE, STACK_USED, TABLE_BASE,
};

const PAGE: usize = 65_536;
const VERDICT_WORDS: usize = crate::layout::verdict::LENGTH / 8;

const _: () = assert!((VERDICT_WORDS + crate::SCRATCH_WORDS) * 8 <= SCRATCH_SIZE as usize);

#[unsafe(no_mangle)]
extern "C" fn abi() -> u32 {
    ABI
}

#[unsafe(no_mangle)]
extern "C" fn request_base() -> u32 {
    REQUEST_BASE
}

#[unsafe(no_mangle)]
extern "C" fn request_size() -> u32 {
    REQUEST_SIZE
}

#[unsafe(no_mangle)]
extern "C" fn scratch_base() -> u32 {
    SCRATCH_BASE
}

#[unsafe(no_mangle)]
extern "C" fn scratch_size() -> u32 {
    SCRATCH_SIZE
}

#[unsafe(no_mangle)]
extern "C" fn table_base() -> u32 {
    TABLE_BASE
}

#[unsafe(no_mangle)]
extern "C" fn evaluate(subject_len: u32, request_len: u32) -> u64 {
    if subject_len > HALF_SIZE || request_len > HALF_SIZE {
        trap();
    }
    let table_size = (core::arch::wasm32::memory_size(0) * PAGE).saturating_sub(TABLE_BASE as usize);
    // SAFETY: the four windows are disjoint by the constants above, lie inside the memory (which the
    // linker sized to hold TABLE_BASE), hold plain integers, and nothing else in this program
    // touches them while the call runs: there is one thread and the host waits for it.
    let (subject, request, tables, scratch) = unsafe {
        (
            core::slice::from_raw_parts(REQUEST_BASE as *const u8, subject_len as usize),
            core::slice::from_raw_parts((REQUEST_BASE + HALF_SIZE) as *const u8, request_len as usize),
            core::slice::from_raw_parts(TABLE_BASE as *const u8, table_size),
            core::slice::from_raw_parts_mut(SCRATCH_BASE as *mut u64, SCRATCH_SIZE as usize / 8),
        )
    };
    let Some((verdict_words, work)) = scratch.split_first_chunk_mut::<VERDICT_WORDS>() else { trap() };
    match crate::evaluate(tables, subject, request, work, &mut ()) {
        Ok((verdict, used)) => {
            *verdict_words = verdict.to_words();
            u64::from(STACK_USED) << 32 | ((VERDICT_WORDS + used) * 8) as u64
        }
        Err(crate::Malformed) => trap(),
    }
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    trap()
}
