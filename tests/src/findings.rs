//! Failing with everything that is wrong at once, each thing in a sentence that says what to do.

/// What a test found to be wrong.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// Adds one, as a whole sentence.
    pub fn add(&mut self, sentence: impl Into<String>) {
        self.0.push(sentence.into());
    }

    /// Fails the test when there is any.
    ///
    /// # Panics
    ///
    /// When something was found; that is its purpose.
    #[track_caller]
    pub fn assert_none(mut self) {
        self.0.sort();
        self.0.dedup();
        assert!(self.0.is_empty(), "{} found:\n\n{}\n", self.0.len(), self.0.join("\n"));
    }
}
