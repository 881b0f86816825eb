//! The same work on many things, on as many threads as there are cores.

use std::num::NonZero;
use std::thread::{available_parallelism, scope};

/// Fewer are done where we are: a thread costs more.
const FEW: usize = 4;

/// Does `work` on each of `things`.
pub(super) fn side_by_side<T: Send>(things: &mut [T], work: impl Fn(&mut T) + Sync) {
    // To ask for the cores is to read files; for a few things nobody does.
    let cores = if things.len() < FEW { 1 } else { available_parallelism().map_or(1, NonZero::get) };
    if cores < 2 {
        things.iter_mut().for_each(work);
        return;
    }
    let share = things.len().div_ceil(cores);
    scope(|threads| {
        for some in things.chunks_mut(share) {
            threads.spawn(|| some.iter_mut().for_each(&work));
        }
    });
}
