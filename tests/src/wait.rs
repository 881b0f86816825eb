//! Waiting for a condition: the only place where tests pause.

use std::thread;
use std::time::{Duration, Instant};

/// How long to leave the other side alone between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer, and fails with `what` and the last refusal at the deadline.
///
/// # Errors
///
/// When the deadline passes.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + deadline;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(refusal) if Instant::now() >= end => {
                return Err(format!("{what}: not within {} s; last: {refusal}", deadline.as_secs()));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
