//! The subject half of a record, encoded once per session.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::policy::{Fault, Subject};
use tidegate_policy_evaluator::{encode, layout};

/// Who asks, in the form modules read; prepare it when a session opens and keep it.
#[derive(Clone, Debug)]
pub struct PreparedSubject {
    id: SubjectId,
    bytes: Box<[u8]>,
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
        let mut bytes = vec![0; layout::HALF_SIZE as usize];
        let length = encode::subject(&mut bytes, parts).map_err(|_| Fault::RequestTooLarge)?;
        bytes.truncate(length);
        Ok(Self { id: SubjectId::fresh(), bytes: bytes.into() })
    }

    pub(crate) fn id(&self) -> SubjectId {
        self.id
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The address as modules see it: IPv4 as IPv4-mapped IPv6.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
