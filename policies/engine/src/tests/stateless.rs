//! An evaluation leaves nothing behind that a later one could read.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tidegate_core::PolicyModule;
use tidegate_core::policy::Effect;
use tidegate_policy_evaluator::layout;

use super::support::{Question, class_a, library, module};
use crate::{Library, Worker};

const REQUEST_BASE: usize = layout::REQUEST_BASE as usize;
const SUBJECT_END: usize = REQUEST_BASE + layout::HALF_SIZE as usize;
const REQUEST_END: usize = REQUEST_BASE + layout::REQUEST_SIZE as usize;

static LOADED: LazyLock<(Arc<Library>, PolicyModule)> = LazyLock::new(|| {
    let (library, module) = (library(), module(&class_a(Effect::Allow).bytes(), 1));
    library.load(&module.digest, &module.wasm).expect("class A");
    (library, module)
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_as_before_but_for_the_record(
        askers in prop::collection::vec(("[a-z]{1,40}", "/[a-z/]{0,2000}"), 1..20),
    ) {
        let (library, module) = &*LOADED;
        let mut worker = Worker::new(Arc::clone(library));
        // The first call makes the instance; a too large record gives no verdict but an instance.
        let too_long = "/".repeat(layout::HALF_SIZE as usize);
        prop_assert!(Question::new("nobody", &too_long).ask(&mut worker, module).is_err());
        let before = worker.instance(&module.digest).expect("an instance").memory().to_vec();

        for (name, path) in &askers {
            let question = Question::new(name, path);
            let verdict = question.ask(&mut worker, module).expect("a verdict");
            prop_assert_eq!(verdict.effect, Some(Effect::Allow));

            let memory = worker.instance(&module.digest).expect("an instance").memory();
            prop_assert_eq!(&memory[..REQUEST_BASE], &before[..REQUEST_BASE]);
            prop_assert_eq!(&memory[REQUEST_END..], &before[REQUEST_END..]);
            // Of the window only this record is left, the traces of longer ones are gone.
            let subject = question.subject.bytes();
            prop_assert_eq!(&memory[REQUEST_BASE..][..subject.len()], subject);
            prop_assert!(memory[REQUEST_BASE + subject.len()..SUBJECT_END].iter().all(|byte| *byte == 0));
            let length = u32::from_le_bytes(memory[SUBJECT_END + 4..][..4].try_into().expect("4 bytes"));
            prop_assert!(memory[SUBJECT_END + length as usize..REQUEST_END].iter().all(|byte| *byte == 0));
        }
    }
}
