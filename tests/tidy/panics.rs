//! Nothing the outside can influence makes the program panic.
//!
//! Outside tests, `unwrap()` and `expect(` stand only under an `// invariant:` comment that says why it cannot
//! happen, or under `#[expect(clippy::…, reason = "…")]`.

use tidegate_tests::findings::Findings;
use tidegate_tests::tree::{File, files};

const WORDS: [&str; 2] = [".unwrap()", ".expect(\""];

/// Code that only tests call although it does not lie with them.
const FOR_TESTS: [(&str, &str); 2] = [
    ("store/src/conformance", "the test every backend has to pass, behind a feature"),
    ("policies/compiler/src/generate.rs", "made-up rules and requests for tests and benches"),
];

#[test]
fn panics_are_invariants() {
    let mut findings = Findings::default();
    let exempt =
        |file: &File| file.is_test() || FOR_TESTS.iter().any(|(path, _)| file.path.starts_with(path));
    for file in files().iter().filter(|file| file.has_extension("rs") && !exempt(file)) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in lines.iter().enumerate().take(tests_begin(&lines)) {
            let code = line.split("//").next().unwrap_or_default();
            let above = if index == 0 { "" } else { lines[index - 1] };
            let explained = [line, above].iter().any(|text| {
                text.contains("// invariant:") || text.trim_start().starts_with("#[expect(clippy::")
            });
            // A parser's own `expect` returns an error.
            let code = code.replace("self.expect(", "");
            if WORDS.iter().any(|word| code.contains(word)) && !explained {
                findings.add(format!(
                    "{}:{}: `{}` can panic; return an error, or write why it cannot in an `// invariant:` comment \
                     on this or the line above.",
                    file.path,
                    index + 1,
                    line.trim()
                ));
            }
        }
    }
    findings.assert_none();
}

/// The line of `#[cfg(test)] mod tests {`, which is the last item of a file that has one.
fn tests_begin(lines: &[&str]) -> usize {
    let begin =
        |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_end().ends_with("mod tests {");
    lines.windows(2).position(begin).unwrap_or(lines.len())
}
