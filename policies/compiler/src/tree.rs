//! The index tree: which dimension splits which rules best, and what the worst request reaches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidegate_core::policy::Side;
use tidegate_policy_evaluator::index::MAX_DEPTH;
use tidegate_policy_evaluator::layout::{MAX_ATTRIBUTES, MAX_GROUPS, MAX_LABELS};
use tidegate_policy_evaluator::table::{NONE, dimension};

use crate::lower::{Condition, Lowered};

/// Rules a leaf may hold without being worth a split.
const SMALL_LEAF: usize = 5;
/// A split must bring the rules a request meets below this share, in percent.
const WORTHWHILE: u64 = 70;
/// Most entries a split may make of the rules it is given: lists put a rule below several values.
const MOST_COPIES: u64 = 8;

/// A rule on its way down, with the selecting conditions still open.
#[derive(Clone)]
struct Pending {
    rule: usize,
    open: Vec<Condition>,
}

/// One rule in one leaf.
pub(crate) struct Entry {
    /// Its place among the lowered rules.
    pub(crate) rule: usize,
    /// The selecting conditions the way has not settled.
    pub(crate) open: Vec<Condition>,
}

/// A node of the tree.
pub(crate) enum Node {
    /// Rules, denies first.
    Leaf(Vec<Entry>),
    /// Children by value.
    Split {
        /// What it looks at.
        dimension: u32,
        /// Rules that do not restrict it, or [`NONE`].
        any: u32,
        /// Child for each value.
        children: BTreeMap<Box<str>, u32>,
    },
}

/// All nodes, and the root of each side.
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) roots: [u32; 3],
}

/// What splitting by a dimension would give.
struct Candidate {
    dimension: u32,
    /// Rules a request meets, weighted.
    meets: u64,
}

impl Tree {
    /// Builds the tree of these rules.
    pub(crate) fn build(rules: &[Lowered]) -> Self {
        let mut tree = Self { nodes: Vec::new(), roots: [NONE; 3] };
        for side in [Side::Platform, Side::Member, Side::Owner] {
            let pending: Vec<_> = rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.side == side)
                .map(|(index, rule)| Pending { rule: index, open: rule.select.clone() })
                .collect();
            let root = if pending.is_empty() { NONE } else { tree.grow(rules, pending, 0) };
            if let Some(slot) = tree.roots.get_mut(side as usize) {
                *slot = root;
            }
        }
        tree
    }

    /// Adds the node for these rules and all below it; gives its number.
    fn grow(&mut self, rules: &[Lowered], pending: Vec<Pending>, depth: usize) -> u32 {
        let number = self.nodes.len();
        self.nodes.push(Node::Leaf(Vec::new()));
        let split = if depth < MAX_DEPTH { best_split(&pending) } else { None };
        let node = match split {
            None => Node::Leaf(leaf(rules, pending)),
            Some(dimension) => {
                let places = settled_places(&pending, dimension);
                let mut children: BTreeMap<Box<str>, Vec<Pending>> = BTreeMap::new();
                let mut rest = Vec::new();
                for (mut each, place) in pending.into_iter().zip(places) {
                    let Some(place) = place else {
                        rest.push(each);
                        continue;
                    };
                    let settled = each.open.remove(place);
                    for value in settled.values(dimension).unwrap_or_default() {
                        children.entry(value.clone()).or_default().push(each.clone());
                    }
                }
                let any = if rest.is_empty() { NONE } else { self.grow(rules, rest, depth + 1) };
                let children = children
                    .into_iter()
                    .map(|(value, below)| (value, self.grow(rules, below, depth + 1)))
                    .collect();
                Node::Split { dimension, any, children }
            }
        };
        if let Some(slot) = self.nodes.get_mut(number) {
            *slot = node;
        }
        number as u32
    }

    /// Drops the latest rules until no request can reach more than `limit` units; gives them.
    pub(crate) fn enforce_limit(&mut self, rules: &[Lowered], limit: u32) -> BTreeSet<usize> {
        let mut dropped = BTreeSet::new();
        for root in self.roots {
            // Each round repairs the worst request; there are at most as many as rules.
            for _ in 0..=rules.len() {
                let mut reached = BTreeSet::new();
                let worst = self.reach(rules, root, &dropped, &mut Some(&mut reached));
                if worst <= limit {
                    break;
                }
                let mut excess = worst - limit;
                for rule in reached.into_iter().rev() {
                    dropped.insert(rule);
                    let cost = rules.get(rule).map_or(0, |rule| rule.cost);
                    match excess.checked_sub(cost) {
                        None | Some(0) => break,
                        Some(rest) => excess = rest,
                    }
                }
            }
        }
        for node in &mut self.nodes {
            if let Node::Leaf(entries) = node {
                entries.retain(|entry| !dropped.contains(&entry.rule));
            }
        }
        dropped
    }

    /// The most units a request can cost below a node; collects the rules of that request.
    fn reach(
        &self,
        rules: &[Lowered],
        node: u32,
        dropped: &BTreeSet<usize>,
        reached: &mut Option<&mut BTreeSet<usize>>,
    ) -> u32 {
        match self.nodes.get(node as usize) {
            None => 0,
            Some(Node::Leaf(entries)) => {
                let mut sum = 1_u32;
                for entry in entries.iter().filter(|entry| !dropped.contains(&entry.rule)) {
                    sum = sum.saturating_add(rules.get(entry.rule).map_or(0, |rule| rule.cost));
                    if let Some(reached) = reached {
                        reached.insert(entry.rule);
                    }
                }
                sum
            }
            Some(Node::Split { dimension, any, children }) => {
                let values = most_values(*dimension);
                let mut costs: Vec<_> = children
                    .values()
                    .map(|child| (self.reach(rules, *child, dropped, &mut None), *child))
                    .collect();
                costs.sort_unstable_by(|a, b| b.cmp(a));
                let mut sum = 1 + values as u32 / 8;
                for (cost, child) in costs.into_iter().take(values) {
                    sum = sum.saturating_add(cost);
                    if reached.is_some() {
                        self.reach(rules, child, dropped, reached);
                    }
                }
                sum.saturating_add(self.reach(rules, *any, dropped, reached))
            }
        }
    }
}

/// How many values of a dimension one request can have.
fn most_values(of: u32) -> usize {
    match of {
        dimension::GROUP => MAX_GROUPS,
        dimension::LABEL => MAX_LABELS,
        dimension::ATTRIBUTE => MAX_ATTRIBUTES,
        _ => 1,
    }
}

/// How many values of a dimension a request usually has that some rule names.
fn usual_values(of: u32) -> u64 {
    match of {
        dimension::GROUP => 4,
        dimension::LABEL | dimension::ATTRIBUTE => 2,
        _ => 1,
    }
}

fn leaf(rules: &[Lowered], pending: Vec<Pending>) -> Vec<Entry> {
    let mut entries: Vec<_> =
        pending.into_iter().map(|each| Entry { rule: each.rule, open: each.open }).collect();
    // Once a deny rule matched, the allow rules behind it are passed over.
    entries.sort_by_key(|entry| (!rules.get(entry.rule).is_some_and(|rule| rule.deny), entry.rule));
    entries
}

/// How often each value of a dimension is named.
fn frequencies(pending: &[Pending], of: u32) -> HashMap<&str, u64> {
    let mut frequency: HashMap<&str, u64> = HashMap::new();
    for value in pending.iter().flat_map(|each| &each.open).filter_map(|open| open.values(of)).flatten() {
        *frequency.entry(value).or_default() += 1;
    }
    frequency
}

/// For each rule, which of its open conditions a split settles.
fn settled_places(pending: &[Pending], of: u32) -> Vec<Option<usize>> {
    let frequency = frequencies(pending, of);
    pending.iter().map(|each| chosen(&each.open, of, &frequency)).collect()
}

/// The open condition a split by this dimension settles: the most selective one.
fn chosen(open: &[Condition], of: u32, frequency: &HashMap<&str, u64>) -> Option<usize> {
    open.iter()
        .enumerate()
        .filter_map(|(place, condition)| {
            let values = condition.values(of)?;
            let weight: u64 = values.iter().map(|value| frequency.get(&**value).copied().unwrap_or(0)).sum();
            Some((weight, place))
        })
        .min()
        .map(|(_, place)| place)
}

/// The dimension that leaves a request the fewest rules to look at, if that is worth a node.
fn best_split(pending: &[Pending]) -> Option<u32> {
    if pending.len() <= SMALL_LEAF {
        return None;
    }
    let total = pending.len() as u64;
    let candidates = (1..dimension::COUNT as u32).filter_map(|of| weigh(pending, of));
    let best = candidates.min_by_key(|candidate| (candidate.meets, candidate.dimension))?;
    (best.meets * 100 <= total * WORTHWHILE).then_some(best.dimension)
}

fn weigh(pending: &[Pending], of: u32) -> Option<Candidate> {
    let frequency = frequencies(pending, of);
    if frequency.is_empty() {
        return None;
    }
    let mut sizes: HashMap<&str, u64> = HashMap::new();
    let mut unrestricted = 0;
    let mut copies = 0_u64;
    for each in pending {
        let Some(values) =
            chosen(&each.open, of, &frequency).and_then(|place| each.open.get(place)?.values(of))
        else {
            unrestricted += 1;
            continue;
        };
        for value in values {
            *sizes.entry(value).or_default() += 1;
            copies += 1;
        }
    }
    if copies > MOST_COPIES * pending.len() as u64 {
        return None;
    }
    // The rules below a value, averaged over the rules: a rule is more often met where many are.
    let squares: u64 = sizes.values().map(|size| size * size).sum();
    let below = (squares * usual_values(of)).div_ceil(copies.max(1));
    Some(Candidate { dimension: of, meets: unrestricted + below })
}
