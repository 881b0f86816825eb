//! What the gateway counts. Labels come from closed sets, never from names of people, addresses or paths.
//! Every name is explained in `docs/reference/metrics.md`.

use http::StatusCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tidegate_core::{Code, DenyReason};
use tidegate_store::audit::Event;

/// The metrics of one gateway, registered once.
pub struct Metrics {
    /// Logins by `outcome`: `ok`, or the name of the code.
    pub logins: IntCounterVec,
    /// Passwords set, by `action` and `outcome`.
    pub passwords: IntCounterVec,
    /// Sessions that ended here, by `reason`.
    pub session_ends: IntCounterVec,
    /// Requests and connections cut since what was allowed no longer was, by `reason`.
    pub terminated: IntCounterVec,
    /// Sessions used here lately.
    pub sessions: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// Clients turned away before a request, by `reason`.
    pub refused: IntCounterVec,
    /// Requests, downloads and upgraded connections under way.
    pub flows: IntGauge,
    /// Open connections to upstreams.
    pub upstream_connections: IntGauge,
    /// Requests an upstream could not answer, by `reason`.
    pub upstream_failures: IntCounterVec,
    /// Seconds since the store last proved that nothing newer exists.
    pub staleness: IntGauge,
    /// Seconds by which this computer's clock is ahead of the controller's.
    pub skew: IntGauge,
    /// Sequence of the snapshot in force on every shard.
    pub applied: IntGauge,
    /// Departments denied since their rules cannot be loaded.
    pub broken: IntGauge,
    /// Password checks that wait.
    pub hash_queue: IntGauge,
    /// Audit records that could not be kept.
    pub audit_lost: IntGauge,
    /// Flows open in tunnels.
    pub tunnel_flows: IntGauge,
    dropped: IntCounterVec,
    flows_refused: IntCounterVec,
    moved: [IntCounter; 2],
    decisions: Vec<IntCounter>,
    requests: [[IntCounter; 5]; 3],
}

/// Who answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The portal.
    Portal = 0,
    /// An upstream.
    Upstream = 1,
    /// The gateway itself, instead of an upstream.
    Gateway = 2,
}

/// Why a client was turned away before a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many connections in all.
    Connections,
    /// Too many connections of one source.
    Source,
    /// Too many handshakes at once.
    Handshakes,
    /// The handshake failed or took too long.
    Handshake,
    /// A balancer did not say whose connection it passes on.
    NoProxyHeader,
    /// It sent a header too slowly, or nothing where something was awaited.
    Slow,
}

impl Refused {
    const ALL: [Self; 6] =
        [Self::Connections, Self::Source, Self::Handshakes, Self::Handshake, Self::NoProxyHeader, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Source => "source",
            Self::Handshakes => "handshakes",
            Self::Handshake => "handshake",
            Self::NoProxyHeader => "no_proxy_header",
            Self::Slow => "slow",
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// Makes the metrics and registers them; fails when the registry has them already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let info = IntGaugeVec::new(Opts::new("tidegate_build_info", "Always 1."), &["version"])?;
        registry.register(Box::new(info.clone()))?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        let by_reason = counter("tidegate_decisions_total", "Decisions by reason.", &["reason"])?;
        let allowed = by_reason.with_label_values(&["allowed"]);
        let denied = DenyReason::ALL.iter().map(|reason| by_reason.with_label_values(&[reason.name()]));
        let decisions = std::iter::once(allowed).chain(denied).collect();

        let by_class = counter(
            "tidegate_requests_total",
            "Requests by who answered and class of status.",
            &["by", "class"],
        )?;
        let classes = |by: &str| CLASSES.map(|class| by_class.with_label_values(&[by, class]));
        let requests = [classes("portal"), classes("upstream"), classes("gateway")];

        let refused = counter(
            "tidegate_clients_refused_total",
            "Clients turned away before a request, by reason.",
            &["reason"],
        )?;
        for reason in Refused::ALL {
            refused.with_label_values(&[reason.name()]);
        }
        let moved = counter(
            "tidegate_tunnel_bytes_total",
            "Bytes of flows in tunnels that have ended, by direction.",
            &["direction"],
        )?;
        Ok(Self {
            tunnel_flows: gauge("tidegate_tunnel_flows", "Flows open in tunnels.")?,
            dropped: counter(
                "tidegate_tunnel_packets_dropped_total",
                "Packets of VPN clients that were dropped, by reason.",
                &["reason"],
            )?,
            flows_refused: counter(
                "tidegate_tunnel_flows_refused_total",
                "Flows of VPN clients that were refused, by reason.",
                &["reason"],
            )?,
            moved: ["up", "down"].map(|direction| moved.with_label_values(&[direction])),
            logins: counter("tidegate_logins_total", "Logins by outcome.", &["outcome"])?,
            passwords: counter(
                "tidegate_passwords_total",
                "Passwords set, by action and outcome.",
                &["action", "outcome"],
            )?,
            session_ends: counter("tidegate_session_ends_total", "Sessions ended, by reason.", &["reason"])?,
            terminated: counter(
                "tidegate_terminated_total",
                "Requests and connections cut since what was allowed no longer was, by reason.",
                &["reason"],
            )?,
            sessions: gauge("tidegate_sessions", "Sessions used here lately.")?,
            connections: gauge("tidegate_connections", "Open client connections.")?,
            refused,
            flows: gauge("tidegate_flows", "Requests, downloads and upgraded connections under way.")?,
            upstream_connections: gauge("tidegate_upstream_connections", "Open connections to upstreams.")?,
            upstream_failures: counter(
                "tidegate_upstream_failures_total",
                "Requests an upstream could not answer, by reason.",
                &["reason"],
            )?,
            staleness: gauge(
                "tidegate_staleness_seconds",
                "Seconds since the store last proved that nothing newer exists.",
            )?,
            skew: gauge(
                "tidegate_clock_skew_seconds",
                "Seconds by which this computer's clock is ahead of the controller's.",
            )?,
            applied: gauge(
                "tidegate_snapshot_sequence",
                "Sequence of the snapshot in force on every shard.",
            )?,
            broken: gauge(
                "tidegate_broken_departments",
                "Departments denied since their rules cannot be loaded.",
            )?,
            hash_queue: gauge("tidegate_hash_queue", "Password checks that wait.")?,
            audit_lost: gauge("tidegate_audit_lost", "Audit records that could not be kept.")?,
            decisions,
            requests,
        })
    }

    /// Counts a decision; `None` is an allowed one.
    pub(crate) fn decided(&self, denied: Option<DenyReason>) {
        // The order of the variants is the order of `ALL`; 0 is "allowed".
        let index = denied.map_or(0, |reason| 1 + reason as usize);
        if let Some(counter) = self.decisions.get(index) {
            counter.inc();
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, by: By, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let counter = self.requests.get(by as usize).and_then(|classes| classes.get(class));
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    /// Counts a packet of a VPN client that was dropped.
    pub(crate) fn tunnel_dropped(&self, reason: &str) {
        self.dropped.with_label_values(&[reason]).inc();
    }

    /// Counts a flow of a VPN client that was refused.
    pub(crate) fn tunnel_refused(&self, code: Code) {
        self.flows_refused.with_label_values(&[code.name()]).inc();
    }

    /// Counts the bytes of a flow that has ended.
    pub(crate) fn tunnel_moved(&self, up: u64, down: u64) {
        let [ups, downs] = &self.moved;
        ups.inc_by(up);
        downs.inc_by(down);
    }

    /// Counts a client that was turned away.
    pub(crate) fn turned_away(&self, reason: Refused) {
        self.refused.with_label_values(&[reason.name()]).inc();
    }

    /// Counts what is recorded.
    pub(crate) fn event(&self, event: &Event) {
        let outcome = |refused: &Option<Code>| refused.map_or("ok", Code::name);
        match event {
            Event::Login { refused, .. } => self.logins.with_label_values(&[outcome(refused)]).inc(),
            Event::Activation { refused, .. } => {
                self.passwords.with_label_values(&["activate", outcome(refused)]).inc();
            }
            Event::PasswordChange { refused, .. } => {
                self.passwords.with_label_values(&["change", outcome(refused)]).inc();
            }
            Event::SessionEnd { reason, .. } => {
                self.session_ends.with_label_values(&[reason.code().name()]).inc();
            }
            Event::Decision { .. }
            | Event::FlowEnd { .. }
            | Event::Object { .. }
            | Event::IntentSettled { .. } => {}
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_under_their_own_names() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("registered");
        for reason in DenyReason::ALL {
            metrics.decided(Some(*reason));
        }
        metrics.decided(None);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        for name in DenyReason::ALL.iter().map(|reason| reason.name()).chain(["allowed"]) {
            assert!(text.contains(&format!("tidegate_decisions_total{{reason=\"{name}\"}} 1")), "{name}");
        }
        assert!(Metrics::register(&registry).is_err());
    }

    /// The names in a source file, between quotes.
    fn names(source: &str) -> std::collections::BTreeSet<&str> {
        source.split('"').filter(|text| text.starts_with("tidegate_") && !text.contains(' ')).collect()
    }

    #[test]
    fn every_name_is_explained_and_every_explained_name_exists() {
        let whole = include_str!("metrics.rs");
        let own = whole.split("mod tests").next().unwrap_or_default();
        let docs = include_str!("../../docs/reference/metrics.md");
        let section = docs.split("## Controller").next().unwrap_or_default();
        let explained =
            section.lines().filter_map(|line| line.strip_prefix("| `tidegate_")?.split('`').next()).collect();
        let own: std::collections::BTreeSet<&str> =
            names(own).into_iter().filter_map(|name| name.strip_prefix("tidegate_")).collect();
        assert_eq!(own, explained);
    }
}
