//! A host leads to at most one site, and a path that is forwarded has one form and no way up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_gateway::fuzzing;

fuzz_target!(|text: &str| {
    let Some((host, path)) = text.split_once('\n') else { return };
    if let Some(resource) = fuzzing::resource_of(host, "vpn.example.org") {
        let label = format!("{}-{}.vpn.example.org", resource.name, resource.department);
        assert_eq!(fuzzing::resource_of(&label, "vpn.example.org"), Some(resource));
    }
    if let Some(once) = fuzzing::normalise(path) {
        assert_eq!(fuzzing::normalise(&once).as_deref(), Some(once.as_str()));
        assert!(once.starts_with('/') && !once.contains('\\'));
        assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
    }
});
