//! How long a certificate still counts.

use anyhow::{Context as _, Result};
use x509_parser::pem::Pem;

use super::report::Finding;

/// Days before the end at which somebody should look.
const SOON_DAYS: i64 = 14;
const DAY_S: i64 = 86_400;

/// Judges the certificates of a PEM text by the one that ends first, at `now` (seconds).
pub(crate) fn judge(name: &'static str, whose: &str, pem: &[u8], now: i64, hint: &str) -> Finding {
    let end = match first_end(pem) {
        Ok(end) => end,
        Err(error) => {
            return Finding::error(name, format!("{whose} is not a certificate: {error:#}"), hint);
        }
    };
    let day = jiff::Timestamp::from_second(end).map_or_else(|_| "?".to_owned(), |end| end.to_string());
    if end <= now {
        return Finding::error(name, format!("{whose} ended on {day}"), hint);
    }
    let left = (end - now) / DAY_S;
    let what = format!("{whose} counts until {day}, for {left} more days");
    if left < SOON_DAYS { Finding::warning(name, what, hint) } else { Finding::ok(name, what) }
}

/// The earliest end of all certificates, in seconds.
fn first_end(pem: &[u8]) -> Result<i64> {
    let mut first: Option<i64> = None;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.context("the PEM text is damaged")?;
        if block.label != "CERTIFICATE" {
            continue;
        }
        let certificate = block.parse_x509().context("the certificate is damaged")?;
        let end = certificate.validity().not_after.timestamp();
        first = Some(first.map_or(end, |earlier| earlier.min(end)));
    }
    first.context("there is no certificate in it")
}

#[cfg(test)]
mod tests {
    use super::super::report::Outcome;
    use super::*;

    #[test]
    fn the_end_is_read_and_judged() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(2026, 12, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let end = 1_796_083_200;
        let outcome = |now| judge("n", "it", pem.as_bytes(), now, "renew it").outcome;
        assert_eq!(outcome(end - 30 * DAY_S), Outcome::Ok);
        assert_eq!(outcome(end - 3 * DAY_S), Outcome::Warning);
        assert_eq!(outcome(end), Outcome::Error);
        assert_eq!(judge("n", "it", b"nothing", 0, "").outcome, Outcome::Error);
    }
}
