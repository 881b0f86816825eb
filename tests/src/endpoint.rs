//! What our programs say about themselves: metrics and health by HTTP, and fields of their logs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::wait;

/// An answer takes less.
const ANSWER: Duration = Duration::from_secs(5);

/// The first value of a field in a program's log, once it is there.
///
/// # Panics
///
/// When it is not there in time.
#[must_use]
pub fn said(log: &Path, field: &str) -> String {
    let find = || {
        let log = fs::read_to_string(log).map_err(|error| error.to_string())?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let value = |line: Value| line[field].as_str().map(str::to_owned);
        let mut values = lines.filter_map(value);
        values.next().ok_or_else(|| "not in the log yet".to_owned())
    };
    wait::until(field, ANSWER, find).unwrap_or_else(|error| panic!("{error}"))
}

/// The status and the body that a path answers with.
///
/// # Errors
///
/// When nobody answers in HTTP.
pub fn get(address: &str, path: &str) -> Result<(u16, String), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(said)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(said)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(said)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| head.to_owned())?, body.to_owned()))
}

/// All metrics, as the endpoint says them.
///
/// # Errors
///
/// When it does not answer.
pub fn exposition(address: &str) -> Result<String, String> {
    get(address, "/metrics").map(|(_, body)| body)
}

/// A metric without labels.
///
/// # Errors
///
/// When the endpoint does not answer or does not have it.
pub fn metric(address: &str, name: &str) -> Result<u64, String> {
    let all = exposition(address)?;
    let value = all.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| format!("{name} is not in\n{all}"))
}
