//! One reused instance of a module: write the record, call, read the verdict, wipe.

use std::sync::Arc;

use tidegate_core::LocalTime;
use tidegate_core::policy::{Effect, Fault, Hint, HintKind, Request, Side, Verdict};
use tidegate_policy_evaluator::encode;
use tidegate_policy_evaluator::layout::verdict::LENGTH as VERDICT_LENGTH;
use tidegate_policy_evaluator::verdict::{self, Verdict as RawVerdict};
use wasmtime::{Memory, Store, Trap, TypedFunc};

use crate::budget::Budget;
use crate::library::Loaded;
use crate::subject::{PreparedSubject, SubjectId};

/// What is asked of a module in one call.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) side: Side,
    pub(crate) subject: &'a PreparedSubject,
    pub(crate) request: &'a Request<'a>,
    pub(crate) local: LocalTime,
    /// Number of rules the module has names for.
    pub(crate) rules: usize,
}

/// A live instance. After any fault but a too large request it must not be used again.
pub(crate) struct Instance {
    loaded: Arc<Loaded>,
    store: Store<Budget>,
    memory: Memory,
    evaluate: TypedFunc<(u32, u32), u64>,
    /// Whose half the window holds.
    subject: Option<SubjectId>,
    /// Bytes of each half that are not zero.
    subject_dirty: usize,
    request_dirty: usize,
}

impl Instance {
    /// Makes an instance and asks it which ABI it speaks.
    pub(crate) fn new(loaded: Arc<Loaded>) -> wasmtime::Result<(Self, u32)> {
        let mut store = Budget::store(loaded.engine());
        Budget::begin(&mut store);
        let instance = loaded.instantiate(&mut store)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
        let evaluate = instance.get_typed_func::<(u32, u32), u64>(&mut store, "evaluate")?;
        let abi = instance.get_typed_func::<(), u32>(&mut store, "abi")?.call(&mut store, ())?;
        let instance =
            Self { loaded, store, memory, evaluate, subject: None, subject_dirty: 0, request_dirty: 0 };
        Ok((instance, abi))
    }

    pub(crate) fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Asks once.
    pub(crate) fn evaluate(&mut self, ask: Ask<'_>) -> Result<Verdict, Fault> {
        let layout = *self.loaded.layout();
        let data = self.memory.data_mut(&mut self.store);
        let window = data.get_mut(layout.request_window()).ok_or(Fault::Malformed)?;
        let (subject_half, request_half) = window.split_at_mut(layout.half_size);

        let subject = ask.subject.bytes();
        if self.subject != Some(ask.subject.id()) {
            let (record, rest) =
                subject_half.split_at_mut_checked(subject.len()).ok_or(Fault::RequestTooLarge)?;
            record.copy_from_slice(subject);
            wipe(rest, self.subject_dirty.saturating_sub(subject.len()));
            self.subject_dirty = subject.len();
            self.subject = Some(ask.subject.id());
        }

        let Ok(request) = encode_request(request_half, &ask) else {
            // How far the encoder came is unknown; the next record must not be followed by its traces.
            self.request_dirty = request_half.len();
            return Err(Fault::RequestTooLarge);
        };
        if let Some(rest) = request_half.get_mut(request..) {
            wipe(rest, self.request_dirty.saturating_sub(request));
        }
        self.request_dirty = request;

        Budget::begin(&mut self.store);
        // Both lengths are at most the size of a half, 8 KiB.
        let watermark =
            self.evaluate.call(&mut self.store, (subject.len() as u32, request as u32)).map_err(fault)?;

        let data = self.memory.data_mut(&mut self.store);
        let scratch_used = (watermark as u32) as usize;
        let stack_used = (watermark >> 32) as usize;
        let stack_start = layout.stack_end.checked_sub(stack_used).ok_or(Fault::Malformed)?;
        if !(VERDICT_LENGTH..=layout.scratch_size).contains(&scratch_used) {
            return Err(Fault::Malformed);
        }
        let scratch = data.get_mut(layout.scratch_base..).ok_or(Fault::Malformed)?;
        let raw = scratch.first_chunk::<VERDICT_LENGTH>().and_then(RawVerdict::from_bytes);
        wipe(scratch, scratch_used);
        wipe(data.get_mut(stack_start..).ok_or(Fault::Malformed)?, stack_used);
        raw.and_then(|raw| strict(raw, ask.rules)).ok_or(Fault::Malformed)
    }

    /// The memory as it is, for tests of what an evaluation leaves behind.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }
}

#[inline]
fn encode_request(half: &mut [u8], ask: &Ask<'_>) -> Result<usize, encode::TooLarge> {
    let Ask { request, local, .. } = ask;
    encode::request(
        half,
        encode::Request {
            side: ask.side as u8,
            owner: request.owner.as_str(),
            resource: request.resource.as_str(),
            labels: request.labels.iter().map(|(key, value)| (&**key, &**value)),
            host: request.host,
            port: request.port,
            method: request.method,
            path: request.path,
            utc_minute: local.utc_minute,
            weekday: local.weekday as u8,
            minute_of_day: local.minute_of_day,
        },
    )
}

#[inline]
fn wipe(bytes: &mut [u8], length: usize) {
    if let Some(bytes) = bytes.get_mut(..length) {
        bytes.fill(0);
    }
}

/// What ended a call that gave no answer.
#[cold]
fn fault(error: wasmtime::Error) -> Fault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Timeout,
        _ => Fault::Trap,
    }
}

/// The verdict in core's terms, if it is one a module with this many rules can give.
#[inline]
fn strict(raw: RawVerdict, rules: usize) -> Option<Verdict> {
    let effect = match raw.effect {
        verdict::NOTHING if raw.rule == 0 => None,
        verdict::ALLOW => Some(Effect::Allow),
        verdict::DENY => Some(Effect::Deny),
        _ => return None,
    };
    if effect.is_some() && raw.rule as usize >= rules {
        return None;
    }
    let kind = match raw.hint {
        0 => HintKind::None,
        1 => HintKind::Method,
        2 => HintKind::Network,
        3 => HintKind::Device,
        4 => HintKind::Factor,
        5 => HintKind::Schedule,
        _ => return None,
    };
    Some(Verdict {
        effect,
        rule: raw.rule,
        valid_until_minute: raw.valid_until,
        hint: Hint { kind, next_minute: raw.next_minute },
        rule_error: raw.rule_error,
    })
}
