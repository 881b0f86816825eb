//! Any file is read or refused; what is read is validated as whatever kind it says it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_controller::folder::read_documents;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(documents) = read_documents(bytes) {
        for document in documents {
            // Every value has the place where it was written.
            assert!(!document.marks.is_empty());
        }
    }
});
