//! Random rule sets and requests through the reference evaluator and through compiled modules in the
//! sandbox; on the way each pair also runs through the evaluator's source compiled natively, which
//! tells what the pair reached.
//!
//! `TIDEGATE_DIFFERENTIAL_PAIRS` sets how many pairs (200,000 take about a minute of CPU time even unoptimised),
//! `TIDEGATE_DIFFERENTIAL_SEED` the seed; a failure prints what is needed to repeat it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use tidegate_core::PolicyModule;
use tidegate_core::policy::{Evaluate, Subject, Verdict};
use tidegate_policy_compiler::generate::{Asked, Random, asked, rule_set, subject};
use tidegate_policy_compiler::reference::Reference;
use tidegate_policy_compiler::{Input, compile, compile_tables};
use tidegate_policy_engine::{Engine, Library, PreparedSubject, Worker};
use tidegate_policy_evaluator::{SCRATCH_WORDS, encode, layout, observe::Observe, op, table};

const PAIRS: u64 = 2_000;
/// Compiling a module costs as much as thousands of decisions: the more pairs, the more of each set.
const SETS: u64 = 20;
const MOST_SETS: u64 = 2_000;
/// From this many pairs on every index level and every opcode must have been met.
const ALL_REACHED: u64 = 200_000;

/// In how many pairs an index dimension or an opcode was met.
struct Reach {
    dimensions: [u64; table::dimension::COUNT],
    opcodes: [u64; op::COUNT],
    /// Of this pair, one bit for each number.
    pair: (u64, u64),
}

impl Observe for Reach {
    fn dimension(&mut self, dimension: u8) {
        self.pair.0 |= 1 << dimension;
    }
    fn condition(&mut self, _: u8) {}
    fn opcode(&mut self, opcode: u8) {
        self.pair.1 |= 1 << opcode;
    }
}

impl Reach {
    fn finish_pair(&mut self) {
        let count = |seen: &mut [u64], bits: u64| {
            for (number, count) in seen.iter_mut().enumerate() {
                *count += bits >> number & 1;
            }
        };
        count(&mut self.dimensions, self.pair.0);
        count(&mut self.opcodes, self.pair.1);
        self.pair = (0, 0);
    }

    fn report(&self, pairs: u64) {
        for (what, seen) in [("index level", &self.dimensions[..]), ("opcode", &self.opcodes[..])] {
            for (number, count) in seen.iter().enumerate().skip(1) {
                println!("{what} {number}: {:.1} %", *count as f64 * 100.0 / pairs as f64);
                assert!(pairs < ALL_REACHED || *count > 0, "{what} {number} is met by no pair");
            }
        }
    }
}

/// The evaluator's source compiled natively, on the same bytes the sandbox gets.
fn native(tables: &[u8], person: &Subject, asked: &Asked, reach: &mut Reach) -> (u8, u32) {
    let half = layout::HALF_SIZE as usize;
    let (mut subject, mut request) = (vec![0; half], vec![0; half]);
    let source = match person.source {
        std::net::IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(address) => address.octets(),
    };
    let parts = encode::Subject {
        department: person.department.as_str(),
        name: person.name.as_str(),
        unit: &person.unit,
        groups: person.groups.iter().map(|group| group.as_str()),
        attributes: person.attributes.iter().map(|(key, value)| (&**key, &**value)),
        device: person.device as u8,
        factors: person.factors,
        source,
    };
    let subject_length = encode::subject(&mut subject, parts).expect("it fits");
    let parts = encode::Request {
        side: asked.side as u8,
        owner: asked.owner.as_str(),
        resource: asked.resource.as_str(),
        labels: asked.labels.iter().map(|(key, value)| (&**key, &**value)),
        host: asked.host,
        port: asked.port,
        method: asked.method,
        path: asked.path,
        utc_minute: asked.local.utc_minute,
        weekday: asked.local.weekday as u8,
        minute_of_day: asked.local.minute_of_day,
    };
    let request_length = encode::request(&mut request, parts).expect("it fits");
    let mut scratch = vec![0; SCRATCH_WORDS];
    let (subject, request) = (&subject[..subject_length], &request[..request_length]);
    let (verdict, _) = tidegate_policy_evaluator::evaluate(tables, subject, request, &mut scratch, reach)
        .expect("well-formed");
    (verdict.effect, verdict.rule)
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn modules_answer_as_the_reference_does() {
    let pairs = from_environment("TIDEGATE_DIFFERENTIAL_PAIRS", PAIRS);
    let seed = from_environment("TIDEGATE_DIFFERENTIAL_SEED", 0x7d1e_9a7e);
    println!("seed {seed:#x}, {pairs} pairs");
    let sets = (pairs / 500).clamp(SETS, MOST_SETS);
    let each = pairs.div_ceil(sets);
    let library = Arc::new(Library::new(Engine::new().expect("engine")));
    let mut worker = Worker::new(Arc::clone(&library));
    let mut random = Random(seed);
    let mut reach = Reach { dimensions: [0; table::dimension::COUNT], opcodes: [0; op::COUNT], pair: (0, 0) };
    let mut effects = [0_u64; 3];
    for _ in 0..sets {
        let set_seed = random.0;
        let (scope, policies) = rule_set(&mut random);
        let input = Input { scope, policies: &policies };
        let output = compile(&input);
        let (tables, _, _) = compile_tables(&input);
        let module = PolicyModule {
            digest: digest(&SHA256, &output.wasm).as_ref().try_into().expect("32 bytes"),
            wasm: output.wasm.into(),
            rules: output.rules,
        };
        library.load(&module.digest, &module.wasm).expect("a class A module");
        let (reference, _) = Reference::new(&input);
        for _ in 0..each {
            let subject = subject(&mut random);
            let asked = asked(&mut random, &input.scope);
            let expected = reference.evaluate(asked.side, &subject, &asked.request(), asked.local);
            let prepared = PreparedSubject::new(&subject).expect("it fits");
            let found = worker.evaluate(&module, asked.side, &prepared, &asked.request(), asked.local);
            assert_eq!(
                found,
                Ok(expected),
                "set {set_seed:#x}: module (left) and reference (right) differ\n{subject:#?}\n{asked:#?}\n{policies:#?}"
            );
            let native = native(&tables, &subject, &asked, &mut reach);
            assert_eq!(native, plain(&expected), "set {set_seed:#x}: native and reference differ");
            reach.finish_pair();
            effects[usize::from(native.0)] += 1;
        }
        library.retain(&[]);
        worker.retain(&[]);
    }
    let [nothing, allow, deny] = effects;
    println!(
        "{} pairs in {sets} sets, 0 differences: nothing {nothing}, allow {allow}, deny {deny}",
        sets * each
    );
    reach.report(sets * each);
}

fn plain(verdict: &Verdict) -> (u8, u32) {
    (verdict.effect.map_or(0, |effect| 1 + effect as u8), verdict.rule)
}
