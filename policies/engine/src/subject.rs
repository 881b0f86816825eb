//! The subject half of a record, encoded once per session.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::policy::{Fault, Subject};
use tidegate_policy_evaluator::{encode, layout};

/// Who asks, in the form modules read; prepare it when a session opens and keep it.
#[derive(Clone, Debug)]
pub struct PreparedSubject {
    id: SubjectId,
    bytes: Vec<u8>,
}

/// Tells prepared subjects of one process apart, so that a window that holds one is not written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubjectId(u64);

impl SubjectId {
    fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // At one per nanosecond the numbers last for 584 years.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl PreparedSubject {
    /// Encodes `subject`.
    ///
    /// # Errors
    /// [`Fault::RequestTooLarge`] when its groups and attributes do not fit a record.
    pub fn new(subject: &Subject) -> Result<Self, Fault> {
        let parts = encode::Subject {
            department: subject.department.as_str(),
            name: subject.name.as_str(),
            unit: &subject.unit,
            groups: subject.groups.iter().map(|group| group.as_str()),
            attributes: subject.attributes.iter().map(|(key, value)| (&**key, &**value)),
            device: subject.device as u8,
            factors: subject.factors,
            source: mapped(subject.source),
        };
        let mut bytes = vec![0; room(subject)];
        let length = encode::subject(&mut bytes, parts).map_err(|_| Fault::RequestTooLarge)?;
        bytes.truncate(length);
        Ok(Self { id: SubjectId::fresh(), bytes })
    }

    pub(crate) fn id(&self) -> SubjectId {
        self.id
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes its record takes at most, never more than a half.
fn room(subject: &Subject) -> usize {
    // Lists are aligned: each may leave a gap of seven bytes.
    let fixed = layout::subject::HEADER + 2 * 7;
    let names = subject.department.as_str().len() + subject.name.as_str().len() + subject.unit.len();
    let groups: usize = subject.groups.iter().map(|g| g.as_str().len() + layout::subject::GROUP).sum();
    let attributes = subject.attributes.iter();
    let attributes: usize =
        attributes.map(|(key, value)| key.len() + 1 + value.len() + layout::subject::PAIR).sum();
    (fixed + names + groups + attributes).min(layout::HALF_SIZE as usize)
}

/// The address as modules see it: IPv4 as IPv4-mapped IPv6.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
