//! Data and tree to the bytes a module reads.

use std::collections::HashMap;

use tidegate_policy_evaluator::hash::hash;
use tidegate_policy_evaluator::table::{self, FLAG_DENY, HEADER, MAGIC, NONE, VERSION, dimension};

use crate::data::Data;
use crate::lower::Lowered;
use crate::tree::{Node, Tree};

/// Writes the tables.
pub(crate) fn write(mut data: Data, tree: &Tree, rules: &[Lowered]) -> Vec<u8> {
    let mut nodes = Vec::new();
    let mut entries = Vec::new();
    let mut keys = Vec::new();
    for (number, node) in tree.nodes.iter().enumerate() {
        let words = match node {
            Node::Leaf(leaf) => {
                let first = (entries.len() / table::ENTRY) as u32;
                for entry in leaf {
                    let Some(rule) = rules.get(entry.rule) else { continue };
                    let words: Vec<_> = entry.open.iter().map(|open| open.word(&mut data)).collect();
                    // Equal lists stand in the data once, and the evaluator remembers what they came to.
                    let select = if words.is_empty() { 0 } else { data.conditions(&words) };
                    let flags = if rule.deny { FLAG_DENY } else { 0 };
                    let [when, when_time] = rule.when;
                    put(&mut entries, &[rule.rule, flags, select, rule.levels, when, when_time]);
                }
                [dimension::LEAF, NONE, first, leaf.len() as u32]
            }
            Node::Split { dimension, any, children } => {
                for (value, child) in children {
                    let place = data.place(value);
                    keys.push((table::key(number as u32, hash(value.as_bytes())), *child, place));
                }
                [*dimension, *any, 0, 0]
            }
        };
        put(&mut nodes, &words);
    }
    let slots = slots(&keys);
    let data = data.finish();

    let nodes_at = HEADER + data.len();
    let slots_at = nodes_at + nodes.len();
    let entries_at = slots_at + slots.len();
    let length = entries_at + entries.len();
    let mask = slots.len() / table::SLOT - 1;
    let mut bytes = Vec::with_capacity(length);
    let places = [length, slots_at, mask, nodes_at, entries_at, HEADER].map(|place| place as u32);
    put(&mut bytes, &[MAGIC, VERSION]);
    put(&mut bytes, &places);
    put(&mut bytes, &tree.roots);
    put(&mut bytes, &[rules.len() as u32]);
    bytes.resize(HEADER, 0);
    for part in [data, nodes, slots, entries] {
        bytes.extend(part);
    }
    bytes
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// The hash table of all nodes' children, at most half full.
fn slots(keys: &[(u64, u32, [u8; 8])]) -> Vec<u8> {
    let size = (keys.len() * 2).next_power_of_two().max(2);
    let mut taken: HashMap<usize, usize> = HashMap::with_capacity(keys.len());
    for (index, (key, ..)) in keys.iter().enumerate() {
        let mut slot = table::home(*key) & (size - 1);
        while taken.contains_key(&slot) {
            slot = (slot + 1) & (size - 1);
        }
        taken.insert(slot, index);
    }
    let mut bytes = Vec::with_capacity(size * table::SLOT);
    for slot in 0..size {
        match taken.get(&slot).and_then(|index| keys.get(*index)) {
            Some((key, child, place)) => {
                bytes.extend(key.to_le_bytes());
                bytes.extend(child.to_le_bytes());
                bytes.extend(place);
                bytes.extend([0; 4]);
            }
            None => {
                bytes.extend([0; 8]);
                bytes.extend(NONE.to_le_bytes());
                bytes.extend([0; 12]);
            }
        }
    }
    bytes
}
