//! What was found: sections of findings, as text while it goes on or as JSON at the end.

use serde::Serialize;

use crate::args::Format;
use crate::output::{self, Exit};

/// The page that has a heading for each finding's name.
const PAGE: &str = "docs/reference/check.md";

/// How one finding turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Skipped,
    /// It works, but should be looked at.
    Warning,
    /// It is broken.
    Error,
}

impl Outcome {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "[ ok ]",
            Self::Skipped => "[skip]",
            Self::Warning => "[warn]",
            Self::Error => "[FAIL]",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// Its stable name.
    pub(crate) name: &'static str,
    /// How it turned out.
    pub(crate) outcome: Outcome,
    /// What was looked at and seen, in a sentence.
    pub(crate) what: String,
    /// What to do, unless it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Where to read on.
    pub(crate) docs: String,
}

impl Finding {
    fn new(name: &'static str, outcome: Outcome, what: impl Into<String>, hint: Option<String>) -> Self {
        Self { name, outcome, what: what.into(), hint, docs: format!("{PAGE}#{name}") }
    }

    /// As it should be.
    pub(crate) fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, what, None)
    }

    /// It could not be looked at.
    pub(crate) fn skipped(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, what, Some(hint.into()))
    }

    /// It should be looked at.
    pub(crate) fn warning(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warning, what, Some(hint.into()))
    }

    /// It is broken.
    pub(crate) fn error(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(name, Outcome::Error, what, Some(hint.into()))
    }
}

#[derive(Debug, Serialize)]
struct Section {
    name: &'static str,
    findings: Vec<Finding>,
}

/// Everything that was found so far.
#[derive(Debug)]
pub(crate) struct Report {
    format: Format,
    sections: Vec<Section>,
}

impl Report {
    /// An empty report that will be printed so.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, sections: Vec::new() }
    }

    /// Adds a section; people see it at once.
    pub(crate) fn section(&mut self, name: &'static str, findings: Vec<Finding>) {
        if self.format == Format::Text {
            output::line(&format!("{name}\n{}", "-".repeat(name.len())));
            for finding in &findings {
                output::line(&format!("{} {}", finding.outcome.mark(), clean(&finding.what)));
                if let Some(hint) = &finding.hint {
                    output::line(&format!("       {}\n       see {}", clean(hint), finding.docs));
                }
            }
            output::line("");
        }
        self.sections.push(Section { name, findings });
    }

    fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.sections.iter().flat_map(|section| &section.findings).map(|finding| finding.outcome)
    }

    /// The last line, or the JSON; and the exit code.
    pub(crate) fn finish(self) -> Exit {
        let worst =
            self.outcomes().filter(|outcome| *outcome != Outcome::Skipped).max().unwrap_or(Outcome::Skipped);
        let count = |wanted| self.outcomes().filter(|outcome| *outcome == wanted).count();
        let (errors, warnings, skipped) =
            (count(Outcome::Error), count(Outcome::Warning), count(Outcome::Skipped));
        match self.format {
            Format::Json => output::json(&serde_json::json!({"outcome": worst, "sections": self.sections})),
            Format::Text => {
                let seen = match (errors, warnings) {
                    (0, 0) => "all that was looked at is well".to_owned(),
                    _ => format!("{errors} broken, {warnings} to look at"),
                };
                let unseen = if skipped == 0 { String::new() } else { format!(", {skipped} not looked at") };
                output::line(&format!("{seen}{unseen}"));
            }
        }
        match worst {
            Outcome::Error => Exit::Failed,
            Outcome::Warning => Exit::Warnings,
            Outcome::Ok | Outcome::Skipped => Exit::Done,
        }
    }
}

/// What others wrote must not be able to steer the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides() {
        let exit = |findings: Vec<Finding>| {
            let mut report = Report::new(Format::Json);
            report.section("part", findings);
            report.finish()
        };
        let (ok, skipped) = (Finding::ok("a", "x"), Finding::skipped("b", "x", "y"));
        let (warning, error) = (Finding::warning("c", "x", "y"), Finding::error("d", "x", "y"));
        assert_eq!(exit(vec![ok.clone(), skipped.clone()]), Exit::Done);
        assert_eq!(exit(vec![ok.clone(), warning.clone(), skipped]), Exit::Warnings);
        assert_eq!(exit(vec![error, ok, warning]), Exit::Failed);
    }
}
