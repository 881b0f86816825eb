//! Every decoder of wire format v1: the first byte chooses one. What decodes is written and read again
//! without change, so no bytes mean two things.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_store::wire::v1;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 8 {
        0 => {
            if let Ok(manifest) = v1::decode_manifest(bytes) {
                assert_eq!(v1::decode_manifest(&v1::encode_manifest(&manifest)).ok(), Some(manifest));
            }
        }
        1 => {
            if let Ok(accounts) = v1::decode_accounts(bytes) {
                let again: Vec<_> = accounts.iter().map(AsRef::as_ref).collect();
                assert_eq!(v1::decode_accounts(&v1::encode_accounts(&again)).ok(), Some(accounts));
            }
        }
        2 => {
            if let Ok(resources) = v1::decode_resources(bytes) {
                assert_eq!(v1::decode_resources(&v1::encode_resources(&resources)).ok(), Some(resources));
            }
        }
        3 => {
            if let Ok(platform) = v1::decode_platform(bytes) {
                assert_eq!(v1::decode_platform(&v1::encode_platform(&platform)).ok(), Some(platform));
            }
        }
        4 => {
            if let Ok(settings) = v1::decode_settings(bytes) {
                assert_eq!(v1::decode_settings(&v1::encode_settings(&settings)).ok(), Some(settings));
            }
        }
        5 => {
            if let Ok(rules) = v1::decode_rules(bytes) {
                assert_eq!(v1::decode_rules(&v1::encode_rules(&rules)).ok(), Some(rules));
            }
        }
        6 => {
            if let Ok(intent) = v1::decode_intent(bytes) {
                assert_eq!(v1::decode_intent(&v1::encode_intent(&intent)).ok(), Some(intent));
            }
        }
        _ => {
            if let Ok(reason) = v1::decode_ended(bytes) {
                assert_eq!(v1::decode_ended(&v1::encode_ended(reason)).ok(), Some(reason));
            }
        }
    }
});
