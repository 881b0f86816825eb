//! Fields whose feature does not exist yet: refused when set, never ignored.

/// One field, or a whole kind when `field` is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYet {
    /// The kind.
    pub kind: &'static str,
    /// The path below the object, `.`-separated, `[]` for list entries.
    pub field: &'static str,
    /// What to do meanwhile, one sentence.
    pub instead: &'static str,
}

/// The one table of features that are still to come.
pub const NOT_YET_SUPPORTED: &[NotYet] = &[
    NotYet {
        kind: "Department",
        field: "spec.lockMode",
        instead: "remove the field; it comes with the tunnel",
    },
    NotYet {
        kind: "Department",
        field: "spec.quotas",
        instead: "remove the field; the built-in limits apply",
    },
    NotYet {
        kind: "VpnGateway",
        field: "spec.departments",
        instead: "remove the field; the one pool there is serves every department",
    },
    NotYet {
        kind: "VpnGateway",
        field: "spec.addressPrefixes",
        instead: "remove the field; it comes with the tunnel",
    },
    NotYet { kind: "VpnGateway", field: "spec.dns", instead: "remove the field; it comes with the tunnel" },
    NotYet {
        kind: "VpnGateway",
        field: "spec.tunnel",
        instead: "remove the field; it comes with the tunnel",
    },
    NotYet {
        kind: "Recertification",
        field: "",
        instead: "extend accounts one by one with spec.review until campaigns exist",
    },
];

/// What only a cluster has: refused in a folder that one process serves by itself.
pub const CLUSTER_ONLY: &[NotYet] = &[
    NotYet {
        kind: "VpnGateway",
        field: "spec.hosts",
        instead: "remove the field and name the host with --host; it counts on a cluster",
    },
    NotYet {
        kind: "VpnGateway",
        field: "spec.tls",
        instead: "remove the field; the certificate lies in the state directory, its Secret counts on a cluster",
    },
    NotYet {
        kind: "VpnGateway",
        field: "spec.replicas",
        instead: "remove the field; one process is one gateway, a cluster has pools of them",
    },
    NotYet {
        kind: "VpnGateway",
        field: "spec.autoscaling",
        instead: "remove the field; one process is one gateway, a cluster has pools of them",
    },
    NotYet {
        kind: "VpnGateway",
        field: "spec.staleness",
        instead: "remove the field; a gateway in the same process is never cut off",
    },
];
