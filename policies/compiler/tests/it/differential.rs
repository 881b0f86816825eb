//! Random rule sets and requests through the reference and through the compiled tables.
//!
//! `TIDEGATE_DIFFERENTIAL_PAIRS` sets how many pairs (a million take well under a minute in
//! release), `TIDEGATE_DIFFERENTIAL_SEED` the seed; a failure prints what is needed to repeat it.

use tidegate_policy_compiler::generate::{Random, asked, rule_set, subject};
use tidegate_policy_compiler::reference::Reference;
use tidegate_policy_compiler::{Input, compile_tables};
use tidegate_policy_evaluator::observe::Observe;
use tidegate_policy_evaluator::{op, table};

use crate::native::Native;

const PAIRS: u64 = 40_000;
const REQUESTS_PER_SET: u64 = 32;

/// How many pairs went through what: a part no pair reaches is not tested.
struct Coverage {
    pair: u64,
    dimensions: Seen<{ table::dimension::COUNT }>,
    conditions: Seen<{ table::condition::COUNT }>,
    opcodes: Seen<{ op::COUNT }>,
    effects: [u64; 3],
}

/// For each number, in how many pairs it was seen, and the last of them.
struct Seen<const N: usize>([(u64, u64); N]);

impl<const N: usize> Seen<N> {
    fn mark(&mut self, number: u8, pair: u64) {
        let (count, last) = &mut self.0[usize::from(number)];
        if *last != pair {
            *last = pair;
            *count += 1;
        }
    }

    /// Prints the share of pairs for each number from 1, and asserts that each is at least 1 %.
    fn report(&self, what: &str, pairs: u64) {
        for (number, (count, _)) in self.0.iter().enumerate().skip(1) {
            println!("{what} {number}: {:.1} %", *count as f64 * 100.0 / pairs as f64);
        }
        for (number, (count, _)) in self.0.iter().enumerate().skip(1) {
            assert!(count * 100 >= pairs, "{what} {number} is reached by less than 1 % of pairs");
        }
    }
}

impl Observe for Coverage {
    fn dimension(&mut self, dimension: u8) {
        self.dimensions.mark(dimension, self.pair);
    }
    fn condition(&mut self, kind: u8) {
        self.conditions.mark(kind, self.pair);
    }
    fn opcode(&mut self, opcode: u8) {
        self.opcodes.mark(opcode, self.pair);
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn tables_answer_as_the_reference_does() {
    let pairs = from_environment("TIDEGATE_DIFFERENTIAL_PAIRS", PAIRS);
    let seed = from_environment("TIDEGATE_DIFFERENTIAL_SEED", 0x7d1e_9a7e);
    println!("seed {seed:#x}, {pairs} pairs");
    let mut random = Random(seed);
    let mut native = Native::new();
    let mut coverage = Coverage {
        pair: 0,
        dimensions: Seen([(0, 0); table::dimension::COUNT]),
        conditions: Seen([(0, 0); table::condition::COUNT]),
        opcodes: Seen([(0, 0); op::COUNT]),
        effects: [0; 3],
    };
    while coverage.pair < pairs {
        let set_seed = random.0;
        let (scope, policies) = rule_set(&mut random);
        let input = Input { scope, policies: &policies };
        let (tables, names, problems) = compile_tables(&input);
        assert_eq!(problems, [], "set {set_seed:#x}: the generator writes valid rules");
        let (reference, _) = Reference::new(&input);
        assert_eq!(names, reference.names(), "set {set_seed:#x}: the same rules are in force");
        for _ in 0..REQUESTS_PER_SET {
            coverage.pair += 1;
            let subject = subject(&mut random);
            let asked = asked(&mut random, &input.scope);
            let expected = reference.evaluate(asked.side, &subject, &asked.request(), asked.local);
            let found = native.evaluate(&tables, &subject, &asked, &mut coverage);
            assert_eq!(
                found, expected,
                "set {set_seed:#x}: tables (left) and reference (right) differ\n{subject:#?}\n{asked:#?}\n{policies:#?}"
            );
            coverage.effects[expected.effect.map_or(0, |effect| 1 + effect as usize)] += 1;
        }
    }
    let pairs = coverage.pair;
    let [nothing, allow, deny] = coverage.effects;
    println!("{pairs} pairs, 0 differences; nothing {nothing}, allow {allow}, deny {deny}");
    coverage.dimensions.report("dimension", pairs);
    coverage.conditions.report("condition", pairs);
    coverage.opcodes.report("opcode", pairs);
}
