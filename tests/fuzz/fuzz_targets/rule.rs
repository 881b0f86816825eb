//! Any text is parsed and checked without a panic; a fault points into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_policy_compiler::{parse_when, when};

fuzz_target!(|text: &str| {
    if let Ok(node) = parse_when(text) {
        let _ = when::check(&node);
    }
});
