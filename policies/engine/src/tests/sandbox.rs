//! Programs no check lets in are run here all the same: each is stopped, denied with its own reason,
//! and its neighbour on the same worker does not notice.

use std::sync::Arc;

use tidegate_core::PolicyModule;
use tidegate_core::policy::Fault;

use super::support::{Neighbour, Question, library, module};
use crate::limits::QUARANTINE_FAULTS;
use crate::{Library, LoadError, Worker};

macro_rules! fixture {
    ($name:literal) => {
        module(
            &wat::parse_str(include_str!(concat!("../../../fixtures/", $name, ".wat"))).expect("a fixture"),
            1,
        )
    };
}

fn load(library: &Library, module: &PolicyModule) -> Result<(), LoadError> {
    library.load_unchecked(&module.digest, &module.wasm)
}

/// What a module answers, with a neighbour that is well before and after.
fn answer(module: &PolicyModule) -> Result<(), Fault> {
    let library = library();
    let neighbour = Neighbour::loaded(&library);
    load(&library, module).expect("the fixture compiles");
    let mut worker = Worker::new(library);
    neighbour.is_well(&mut worker);
    let answer = Question::new("liqiang", "/").ask(&mut worker, module).map(|_| ());
    neighbour.is_well(&mut worker);
    answer
}

#[test]
fn a_module_that_behaves_is_heard() {
    assert_eq!(answer(&fixture!("answers_nothing")), Ok(()));
}

#[test]
fn a_module_that_runs_away_is_stopped() {
    assert_eq!(answer(&fixture!("endless_loop")), Err(Fault::Timeout));
    assert_eq!(answer(&fixture!("endless_fill")), Err(Fault::Timeout));
}

#[test]
fn a_module_that_traps_is_denied() {
    for module in [
        fixture!("unreachable"),
        fixture!("load_out_of_bounds"),
        fixture!("store_out_of_bounds"),
        fixture!("endless_recursion"),
        fixture!("grows_memory"),
    ] {
        assert_eq!(answer(&module), Err(Fault::Trap));
    }
}

#[test]
fn an_answer_that_is_none_is_denied() {
    for module in [
        fixture!("bad_effect"),
        fixture!("bad_hint"),
        fixture!("bad_rule"),
        fixture!("bad_padding"),
        fixture!("bad_watermark"),
        fixture!("bad_stack_watermark"),
    ] {
        assert_eq!(answer(&module), Err(Fault::Malformed));
    }
}

#[test]
fn what_the_sandbox_does_not_offer_does_not_load() {
    let library = library();
    let neighbour = Neighbour::loaded(&library);
    for (module, name) in [
        (fixture!("imports_a_function"), "import"),
        (fixture!("memory64"), "64-bit memory"),
        (fixture!("two_memories"), "two memories"),
        (fixture!("shared_memory"), "shared memory"),
        (fixture!("tail_call"), "tail call"),
        (fixture!("exceptions"), "exceptions"),
        (fixture!("vectors"), "vectors"),
    ] {
        let outcome = load(&library, &module);
        assert!(matches!(outcome, Err(LoadError::NotCompiled(_))), "{name}: {outcome:?}");
    }
    for (module, name) in [
        (fixture!("huge_memory"), "huge memory"),
        (fixture!("start_function"), "start function that never ends"),
        (fixture!("other_abi"), "other ABI"),
        (fixture!("other_signature"), "other signature"),
    ] {
        let outcome = load(&library, &module);
        assert!(matches!(outcome, Err(LoadError::Abi(_))), "{name}: {outcome:?}");
    }
    neighbour.is_well(&mut Worker::new(library));
}

#[test]
fn a_module_that_fails_too_often_rests_everywhere_and_alone() {
    let library = library();
    let neighbour = Neighbour::loaded(&library);
    let (bad, worse) = (fixture!("unreachable"), fixture!("load_out_of_bounds"));
    load(&library, &bad).expect("it compiles");
    load(&library, &worse).expect("it compiles");
    let question = Question::new("liqiang", "/");
    let mut workers = [Worker::new(Arc::clone(&library)), Worker::new(Arc::clone(&library))];
    for index in 0..QUARANTINE_FAULTS {
        assert_eq!(question.ask(&mut workers[index % 2], &bad), Err(Fault::Trap));
    }
    for worker in &mut workers {
        assert_eq!(question.ask(worker, &bad), Err(Fault::Quarantined));
        neighbour.is_well(worker);
        assert_eq!(question.ask(worker, &worse), Err(Fault::Trap), "another module starts at once");
    }

    // What was replaced and comes back later starts anew.
    library.retain(&[]);
    assert_eq!(question.ask(&mut workers[0], &bad), Err(Fault::NotLoaded));
    load(&library, &bad).expect("it compiles");
    assert_eq!(question.ask(&mut workers[0], &bad), Err(Fault::Trap));
}

#[test]
fn malformed_answers_do_not_put_a_module_to_rest() {
    let library = library();
    let module = fixture!("bad_effect");
    load(&library, &module).expect("it compiles");
    let mut worker = Worker::new(library);
    for _ in 0..3 * QUARANTINE_FAULTS {
        assert_eq!(Question::new("liqiang", "/").ask(&mut worker, &module), Err(Fault::Malformed));
    }
}

#[test]
fn what_is_not_loaded_is_denied() {
    let mut worker = Worker::new(library());
    let answer = Question::new("liqiang", "/").ask(&mut worker, &fixture!("answers_nothing"));
    assert_eq!(answer, Err(Fault::NotLoaded));
    assert_eq!(worker.instances(), 0);
}

#[test]
fn a_request_that_is_too_large_is_denied_and_costs_no_instance() {
    let library = library();
    let module = fixture!("answers_nothing");
    load(&library, &module).expect("it compiles");
    let mut worker = Worker::new(library);
    let long = "/".repeat(10_000);
    assert_eq!(Question::new("liqiang", "/").ask(&mut worker, &module).map(|_| ()), Ok(()));
    assert_eq!(Question::new("liqiang", &long).ask(&mut worker, &module), Err(Fault::RequestTooLarge));
    assert_eq!(worker.instances(), 1);
    assert_eq!(Question::new("liqiang", "/").ask(&mut worker, &module).map(|_| ()), Ok(()));
}

#[test]
fn instances_of_modules_out_of_use_are_dropped() {
    let library = library();
    let (one, two) = (fixture!("answers_nothing"), fixture!("bad_rule"));
    load(&library, &one).expect("it compiles");
    load(&library, &two).expect("it compiles");
    let mut worker = Worker::new(Arc::clone(&library));
    let question = Question::new("liqiang", "/");
    assert!(question.ask(&mut worker, &one).is_ok());
    assert_eq!(worker.instances(), 1);
    assert!(question.ask(&mut worker, &two).is_err());
    assert_eq!(worker.instances(), 1, "an instance that answered nonsense is not kept");
    worker.retain(&[two.digest]);
    assert_eq!(worker.instances(), 0);
    library.retain(&[two.digest]);
    assert!(!library.holds(&one.digest) && library.holds(&two.digest));
}
