//! Figures of the policy engine: one process, one run, each answer checked before anything is timed.

mod measure;
mod native;
mod peers;
mod whole;
mod workload;

use std::hint::black_box;
use std::sync::Arc;

use cedar_policy::Authorizer;
use tidegate_core::PolicyModule;
use tidegate_core::policy::{Effect, Evaluate, Policy, Side, Target, Verdict};
use tidegate_policy_compiler::{Input, Scope, compile};
use tidegate_policy_engine::{Engine, Library, PreparedSubject, Worker};

use measure::{RUNS, cpu_of, median, row, row_beside, side_by_side};
use native::{Answer, Index};
use workload::{Question, Shape, Workload};

/// A rule set as a gateway has it.
struct Ours {
    worker: Worker,
    module: Arc<PolicyModule>,
    prepared: Vec<PreparedSubject>,
}

impl Ours {
    fn new(library: &Arc<Library>, workload: &Workload) -> Self {
        let scope = Scope::Department(workload.questions[0].owner.clone());
        let module = compiled(scope, std::slice::from_ref(&workload.policy));
        library.load(&module.digest, &module.wasm).expect("a class A module");
        let prepare = |question: &Question| PreparedSubject::new(&question.subject).expect("it fits");
        let prepared = workload.questions.iter().map(prepare).collect();
        Self { worker: Worker::new(Arc::clone(library)), module: Arc::new(module), prepared }
    }

    /// The request half alone: how a gateway asks, whose sessions keep the subject half.
    fn ask(&mut self, workload: &Workload, number: usize) -> Verdict {
        let question = &workload.questions[number];
        let subject = &self.prepared[number];
        self.worker
            .evaluate(&self.module, Side::Owner, subject, &question.request(), question.local)
            .expect("a verdict")
    }

    /// The whole record.
    fn ask_from_scratch(&mut self, workload: &Workload, number: usize) -> Verdict {
        let question = &workload.questions[number];
        let subject = PreparedSubject::new(&question.subject).expect("it fits");
        self.worker
            .evaluate(&self.module, Side::Owner, &subject, &question.request(), question.local)
            .expect("a verdict")
    }
}

fn compiled(scope: Scope, policies: &[Policy]) -> PolicyModule {
    let output = compile(&Input { scope, policies });
    assert!(output.problems.is_empty(), "{:?}", output.problems.first());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &output.wasm);
    PolicyModule {
        digest: digest.as_ref().try_into().expect("32 bytes"),
        wasm: output.wasm.into(),
        rules: output.rules,
    }
}

/// Holds our answers against the native index's, and says how many questions met a rule.
fn agree(ours: &mut Ours, workload: &Workload) {
    let index = Index::new(&workload.policy);
    let mut met = 0;
    for (number, question) in workload.questions.iter().enumerate() {
        let verdict = ours.ask(workload, number);
        let answer =
            Answer { effect: verdict.effect, rule: verdict.rule, valid_until: verdict.valid_until_minute };
        assert_eq!(answer, index.decide_raw(question), "question {number}");
        assert_eq!(answer, index.decide_prepared(&index.prepare(&question.subject), question));
        assert_eq!(verdict, ours.ask_from_scratch(workload, number));
        met += usize::from(verdict.effect.is_some());
    }
    let share = met as f64 / workload::QUESTIONS as f64;
    assert!((0.3..0.8).contains(&share), "about half of the questions meet a rule, not {share}");
}

fn size_and_native(library: &Arc<Library>) {
    let (small, large) = (Workload::new(Shape::Usual, 10), Workload::new(Shape::Usual, 10_000));
    let (mut ours_small, mut ours_large) = (Ours::new(library, &small), Ours::new(library, &large));
    agree(&mut ours_small, &small);
    agree(&mut ours_large, &large);
    let [ten, ten_thousand] = side_by_side([&mut |n| _ = black_box(ours_small.ask(&small, n)), &mut |n| {
        _ = black_box(ours_large.ask(&large, n))
    }]);
    row_beside("rules_10000_over_10", ten_thousand, "10 rules", ten, ten_thousand / ten);

    let index = Index::new(&large.policy);
    let prepared: Vec<_> = large.questions.iter().map(|question| index.prepare(&question.subject)).collect();
    let mut again = Ours::new(library, &large);
    let [whole, session, native, native_prepared] = side_by_side([
        &mut |n| _ = black_box(again.ask_from_scratch(&large, n)),
        &mut |n| _ = black_box(ours_large.ask(&large, n)),
        &mut |n| _ = black_box(index.decide_raw(&large.questions[n])),
        &mut |n| _ = black_box(index.decide_prepared(&prepared[n], &large.questions[n])),
    ]);
    let peer = "native hash index";
    row_beside("over_native_index", whole, peer, native, whole / native);
    row_beside("over_native_index_session", session, peer, native_prepared, session / native_prepared);
}

fn worst_shapes(library: &Arc<Library>) {
    let usual = Workload::new(Shape::Usual, 10_000);
    let mut usual_ours = Ours::new(library, &usual);
    let mut worst = (0.0_f64, 0.0, 1.0);
    for (shape, name) in [
        (Shape::OneResource, "shape_one_resource"),
        (Shape::NoResource, "shape_no_resource"),
        (Shape::OneGroup, "shape_one_group"),
        (Shape::ManyGroups, "shape_64_groups"),
    ] {
        let workload = Workload::new(shape, 10_000);
        let mut ours = Ours::new(library, &workload);
        agree(&mut ours, &workload);
        let [hard, easy] = side_by_side([&mut |n| _ = black_box(ours.ask(&workload, n)), &mut |n| {
            _ = black_box(usual_ours.ask(&usual, n))
        }]);
        row_beside(name, hard, "usual shape", easy, hard / easy);
        if hard / easy > worst.0 {
            worst = (hard / easy, hard, easy);
        }
    }
    row_beside("worst_over_usual", worst.1, "usual shape", worst.2, worst.0);
}

fn against_peers(library: &Arc<Library>) {
    let workload = Workload::new(Shape::Usual, 1_000);
    let mut ours = Ours::new(library, &workload);
    agree(&mut ours, &workload);
    let (cedar, cel, authorizer) =
        (peers::Cedar::new(&workload), peers::Cel::new(&workload), Authorizer::new());
    for number in 0..workload.questions.len() {
        let allowed = ours.ask(&workload, number).effect == Some(Effect::Allow);
        assert_eq!(cedar.allows(&authorizer, number), allowed, "Cedar, question {number}");
        assert_eq!(cel.allows(number), allowed, "CEL, question {number}");
    }
    let [ours, cedar, cel] = side_by_side([
        &mut |n| _ = black_box(ours.ask(&workload, n)),
        &mut |n| _ = black_box(cedar.allows(&authorizer, n)),
        &mut |n| _ = black_box(cel.allows(n)),
    ]);
    row_beside("cedar_over_ours_1000", ours, "cedar-policy 4.14.1", cedar, cedar / ours);
    row_beside("cel_over_ours_1000", ours, "cel 0.15.0, linear", cel, cel / ours);
}

fn whole_decision(library: &Arc<Library>) {
    let workload = Workload::new(Shape::Usual, 10_000);
    let mut ours = Ours::new(library, &workload);
    let mut guardrails = Workload::new(Shape::Usual, 16).policy;
    guardrails.target = Target::Platform;
    guardrails.rules.retain(|rule| rule.effect == Effect::Deny);
    for rule in &mut guardrails.rules {
        // The platform names resources with their owners; here it speaks about hosts only.
        rule.matches.resources.clear();
    }
    let guardrails = Arc::new(compiled(Scope::Platform, std::slice::from_ref(&guardrails)));
    library.load(&guardrails.digest, &guardrails.wasm).expect("a class A module");
    let gateway = whole::Gateway::new(&workload, Arc::clone(&ours.module), guardrails);
    let mut permitted = 0;
    let Ours { worker, prepared, .. } = &mut ours;
    for (number, question) in workload.questions.iter().enumerate() {
        permitted += usize::from(gateway.permits(worker, &prepared[number], question, number));
    }
    assert!(permitted > workload.questions.len() / 4, "{permitted} permitted");
    let [whole] = side_by_side([&mut |n| {
        black_box(gateway.permits(worker, &prepared[n], &workload.questions[n], n));
    }]);
    row("core_decide_ns", whole, "ns", RUNS);
}

fn making(engine: &Engine) {
    let workload = Workload::new(Shape::Usual, 10_000);
    let scope = || Scope::Department(workload.questions[0].owner.clone());
    let (mut compile_ms, mut load_ms) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..RUNS {
        let (module, took) = cpu_of(|| compiled(scope(), std::slice::from_ref(&workload.policy)));
        compile_ms.push(took.as_secs_f64() * 1e3);
        let library = Library::new(engine.clone());
        let (outcome, took) = cpu_of(|| library.load(&module.digest, &module.wasm));
        outcome.expect("a class A module");
        load_ms.push(took.as_secs_f64() * 1e3);
        bytes = module.wasm.len();
    }
    row("compile_ms", median(compile_ms), "ms", RUNS);
    row("load_ms", median(load_ms), "ms", RUNS);
    row("module_bytes_per_rule", bytes as f64 / workload.policy.rules.len() as f64, "bytes", 1);
}

fn main() {
    let engine = Engine::new().expect("the engine's self-test");
    let library = Arc::new(Library::new(engine.clone()));
    let parts: [(&str, &dyn Fn()); 5] = [
        ("10 and 10,000 rules, and a native index", &|| size_and_native(&library)),
        ("hard shapes", &|| worst_shapes(&library)),
        ("Cedar and CEL, 1,000 rules", &|| against_peers(&library)),
        ("the whole decision", &|| whole_decision(&library)),
        ("making and loading a module", &|| making(&engine)),
    ];
    for (what, part) in parts {
        eprintln!("policy: {what}");
        part();
    }
}
