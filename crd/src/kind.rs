//! The seven kinds, by name.

use std::fmt;

/// The API group of every kind.
pub const GROUP: &str = "tidegate.dev";

/// The only version so far.
pub const VERSION: &str = "v1alpha1";

/// Group and version as manifests write them.
pub const API_VERSION: &str = "tidegate.dev/v1alpha1";

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
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

impl Kind {
    /// All kinds, in the order people meet them.
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

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether its objects lie in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        !matches!(self, Self::Department | Self::ClusterAccessPolicy)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
