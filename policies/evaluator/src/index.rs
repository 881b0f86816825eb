//! The index: from a request to the few rules that can speak about it.
//!
//! A tree of nodes. An inner node looks at one dimension (a text of the request, or one of the
//! person): its children, one for each value some rule names, stand in the one hash table of the
//! module; rules that do not restrict the dimension live below its `any` child. A leaf lists rules
//! with the conditions the way to it has not settled. The compiler chooses the dimension of each
//! node by what splits its rules best, so no shape of a rule set falls back to a scan of all.

use crate::layout::{MAX_GROUPS, subject};
use crate::observe::Observe;
use crate::record::{Hashed, List, Record};
use crate::rule::State;
use crate::table::{NONE, Table, dimension};

/// Most inner nodes on the way to a leaf.
pub const MAX_DEPTH: usize = 7;
/// Words of scratch the walk uses: at each depth at most every value's child and `any` wait.
pub const STACK_WORDS: usize = MAX_DEPTH * (MAX_GROUPS + 1) + 1;

/// Visits every leaf the request leads to; gives the words of `stack` it wrote.
#[inline(always)]
pub(crate) fn walk<O: Observe>(
    table: &Table<'_>,
    record: &Record<'_>,
    stack: &mut [u64],
    state: &mut State<'_>,
    observe: &mut O,
) -> Option<usize> {
    let mut waiting = Waiting { stack, count: 0, most: 0 };
    let mut next = table.root(record.side())?;
    loop {
        if next != NONE {
            let node = table.node(next)?;
            if node.dimension == dimension::LEAF {
                for entry in 0..node.count {
                    state.consider(table, record, table.entry(node.first.wrapping_add(entry))?, observe)?;
                }
            } else {
                waiting.push(node.any)?;
                observe.dimension(node.dimension as u8);
                let value = match node.dimension {
                    dimension::RESOURCE => record.resource()?,
                    dimension::HOST => record.host()?,
                    dimension::OWNER => record.owner()?,
                    dimension::DEPARTMENT => record.department()?,
                    dimension::USER => record.name()?,
                    many => {
                        let (list, size) = match many {
                            dimension::GROUP => (record.groups()?, subject::GROUP),
                            dimension::LABEL => (record.labels()?, subject::PAIR),
                            dimension::ATTRIBUTE => (record.attributes()?, subject::PAIR),
                            _ => return None,
                        };
                        push_all(&mut waiting, table, next, list, size)?;
                        next = waiting.pop();
                        if next == NONE {
                            return Some(waiting.most);
                        }
                        continue;
                    }
                };
                next = child(table, next, value)?;
                if next != NONE {
                    continue;
                }
            }
        }
        next = waiting.pop();
        if next == NONE {
            return Some(waiting.most);
        }
    }
}

#[inline(always)]
fn child(table: &Table<'_>, node: u32, value: Hashed<'_>) -> Option<u32> {
    table.child(node, value.hash, value.text)
}

fn push_all(
    waiting: &mut Waiting<'_>,
    table: &Table<'_>,
    node: u32,
    list: List<'_>,
    size: usize,
) -> Option<()> {
    for index in 0..list.len() {
        waiting.push(child(table, node, list.get(size, index)?)?)?;
    }
    Some(())
}

/// Nodes still to visit.
struct Waiting<'a> {
    stack: &'a mut [u64],
    count: usize,
    most: usize,
}

impl Waiting<'_> {
    #[inline(always)]
    fn push(&mut self, node: u32) -> Option<()> {
        if node != NONE {
            *self.stack.get_mut(self.count)? = u64::from(node);
            self.count += 1;
            self.most = self.most.max(self.count);
        }
        Some(())
    }

    #[inline(always)]
    fn pop(&mut self) -> u32 {
        match self.count.checked_sub(1) {
            Some(last) => {
                self.count = last;
                self.stack.get(last).map_or(NONE, |node| *node as u32)
            }
            None => NONE,
        }
    }
}
