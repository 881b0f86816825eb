//! One request to the API server: with a deadline, and with an error that says what to do next.

use std::future::Future;
use std::time::Duration;

use kube_client::Error;

/// No request waits longer.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server refused it.
    #[error("the API server refuses: {message} ({code} {reason})")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The reason in one word.
        reason: String,
        /// The reason in words.
        message: String,
    },
    /// There was no answer; whether it took effect is not known.
    #[error("the API server does not answer: {0}")]
    Unanswered(String),
}

impl CallError {
    /// The object is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Somebody else was faster: the object exists already, or is another version by now.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => {
                Self::Refused { code: status.code, reason: status.reason, message: status.message }
            }
            other => Self::Unanswered(said(&other)),
        }
    }
}

/// An error with the causes below it, which tell more than itself.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Waits for an answer, but never longer than [`DEADLINE`].
pub async fn call<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, CallError> {
    call_within(DEADLINE, request).await
}

/// Waits for an answer, but never longer than `deadline`.
pub async fn call_within<T>(
    deadline: Duration,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(answer) => answer.map_err(CallError::from),
        Err(_) => Err(CallError::Unanswered(format!("nothing within {} s", deadline.as_secs()))),
    }
}
