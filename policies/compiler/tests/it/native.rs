//! The evaluator run natively over compiled tables.

use std::net::IpAddr;

use tidegate_core::policy::{Effect, Hint, HintKind, Side, Subject, Verdict};
use tidegate_policy_compiler::generate::Asked;
use tidegate_policy_evaluator::layout::HALF_SIZE;
use tidegate_policy_evaluator::observe::Observe;
use tidegate_policy_evaluator::{SCRATCH_WORDS, encode, evaluate, verdict};

/// What scratch holds where nobody wrote: earlier calls' leavings must not matter, and the watermark
/// must cover every word written.
const RUBBISH: u64 = 0x5555_5555_5555_5555;

/// Buffers reused between calls.
pub(crate) struct Native {
    subject: Vec<u8>,
    request: Vec<u8>,
    scratch: Vec<u64>,
}

impl Native {
    pub(crate) fn new() -> Self {
        let half = || vec![0xaa; HALF_SIZE as usize];
        Self { subject: half(), request: half(), scratch: vec![RUBBISH; SCRATCH_WORDS] }
    }

    pub(crate) fn evaluate(
        &mut self,
        tables: &[u8],
        subject: &Subject,
        asked: &Asked,
        observe: &mut impl Observe,
    ) -> Verdict {
        let source = match subject.source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let parts = encode::Subject {
            department: subject.department.as_str(),
            name: subject.name.as_str(),
            unit: &subject.unit,
            groups: subject.groups.iter().map(AsRef::as_ref),
            attributes: subject.attributes.iter().map(|(key, value)| (&**key, &**value)),
            device: subject.device as u8,
            factors: subject.factors,
            source,
        };
        let subject_len = encode::subject(&mut self.subject, parts).expect("the subject fits");
        let parts = encode::Request {
            side: asked.side as u8,
            owner: asked.owner.as_str(),
            resource: asked.resource.as_str(),
            labels: asked.labels.iter().map(|(key, value)| (&**key, &**value)),
            host: asked.host,
            port: asked.port,
            method: asked.method,
            path: asked.path,
            utc_minute: asked.local.utc_minute,
            weekday: asked.local.weekday as u8,
            minute_of_day: asked.local.minute_of_day,
        };
        let request_len = encode::request(&mut self.request, parts).expect("the request fits");
        let (raw, used) = evaluate(
            tables,
            &self.subject[..subject_len],
            &self.request[..request_len],
            &mut self.scratch,
            observe,
        )
        .expect("well-formed tables");
        let (written, untouched) = self.scratch.split_at_mut(used);
        assert!(untouched.iter().all(|word| *word == RUBBISH), "the watermark covers what was written");
        written.fill(RUBBISH);
        assert_eq!(verdict::Verdict::from_bytes(&bytes(raw)), Some(raw), "the verdict survives its bytes");
        Verdict {
            effect: match raw.effect {
                verdict::ALLOW => Some(Effect::Allow),
                verdict::DENY => Some(Effect::Deny),
                _ => None,
            },
            rule: raw.rule,
            valid_until_minute: raw.valid_until,
            hint: Hint {
                kind: [
                    HintKind::None,
                    HintKind::Method,
                    HintKind::Network,
                    HintKind::Device,
                    HintKind::Factor,
                    HintKind::Schedule,
                ][usize::from(raw.hint)],
                next_minute: raw.next_minute,
            },
            rule_error: raw.rule_error,
        }
    }
}

fn bytes(verdict: verdict::Verdict) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(verdict.to_words()) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The sides as numbers, as the record has them.
const _: () = assert!(Side::Platform as u8 == 0 && Side::Member as u8 == 1 && Side::Owner as u8 == 2);
