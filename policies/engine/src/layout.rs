//! The memory map of the modules made of one evaluator.

use std::ops::Range;

use tidegate_policy_evaluator::layout;

/// Where the windows of a module lie, in bytes from the start of its memory.
///
/// The map belongs to the evaluator a module is made of, so each carried evaluator has its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Where the shadow stack starts growing down.
    pub(crate) stack_end: usize,
    /// Start of the subject half; the request half follows it.
    pub(crate) request_base: usize,
    /// Size of each half.
    pub(crate) half_size: usize,
    /// Start of scratch, and of the verdict in it.
    pub(crate) scratch_base: usize,
    /// Size of scratch.
    pub(crate) scratch_size: usize,
    /// Start of the table window, which ends with the memory.
    pub(crate) table_base: u64,
}

impl Layout {
    /// The map of this release's evaluator.
    pub(crate) const CURRENT: Self = Self {
        stack_end: layout::STACK_END as usize,
        request_base: layout::REQUEST_BASE as usize,
        half_size: layout::HALF_SIZE as usize,
        scratch_base: layout::SCRATCH_BASE as usize,
        scratch_size: layout::SCRATCH_SIZE as usize,
        table_base: layout::TABLE_BASE as u64,
    };

    /// The request window.
    pub(crate) fn request_window(&self) -> Range<usize> {
        self.request_base..self.request_base + 2 * self.half_size
    }
}
