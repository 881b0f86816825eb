//! Objects as the controller takes them, wherever they come from.

use std::fmt;

/// The kinds of object that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A department.
    Department,
    /// A person's account.
    VpnUser,
    /// A business system.
    Resource,
    /// A department's rules.
    AccessPolicy,
    /// The platform's guardrails.
    ClusterAccessPolicy,
    /// A pool of gateways.
    VpnGateway,
    /// A campaign of reviews.
    Recertification,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Department,
        Self::VpnUser,
        Self::Resource,
        Self::AccessPolicy,
        Self::ClusterAccessPolicy,
        Self::VpnGateway,
        Self::Recertification,
    ];

    /// The kind as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Department => "Department",
            Self::VpnUser => "VpnUser",
            Self::Resource => "Resource",
            Self::AccessPolicy => "AccessPolicy",
            Self::ClusterAccessPolicy => "ClusterAccessPolicy",
            Self::VpnGateway => "VpnGateway",
            Self::Recertification => "Recertification",
        }
    }
}

/// Which object is meant: kind, namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

impl ObjectKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(kind: ObjectKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        if self.namespace.is_empty() {
            write!(f, "{kind} {}", self.name)
        } else {
            write!(f, "{kind} {}/{}", self.namespace, self.name)
        }
    }
}
