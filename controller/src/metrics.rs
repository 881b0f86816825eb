//! What the controller counts. Labels come from closed sets, never from names of people or objects.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::status::Counts;

/// The controller's metrics, registered once.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Publications that changed anything.
    pub publications: IntCounter,
    /// Sequence of the newest publication.
    pub sequence: IntGauge,
    /// Objects by `kind` and `accepted` (`true`, `false`).
    pub objects: IntGaugeVec,
    /// Intents by `action` and `outcome` (`done`, or the name of the code).
    pub intents: IntCounterVec,
    /// Seconds from objects to a snapshot, compiling included.
    pub build_seconds: Histogram,
    /// Rules or policies that are not in force as written.
    pub compile_problems: IntGauge,
    /// Failed writes of state or store; the controller tries again.
    pub write_failures: IntCounterVec,
    /// When a write failed last, in seconds since 1970, by what was written.
    pub write_failed_at: IntGaugeVec,
    /// Events that nobody read in time.
    pub events_dropped: IntCounter,
    /// Accounts that are gone without having been deleted, too many at once to be believed.
    pub held_back: IntGauge,
    /// Conditions by `kind`, `type` and `status`.
    pub conditions: IntGaugeVec,
    /// Publications that are not in force on every gateway yet.
    pub in_flight: IntGauge,
    /// Seconds from a publication until every gateway has it in force.
    pub propagation_seconds: Histogram,
}

impl Metrics {
    /// Makes the metrics and registers them; fails when the registry has them already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            publications: IntCounter::new(
                "tidegate_controller_publications_total",
                "Publications that changed anything.",
            )?,
            sequence: IntGauge::new(
                "tidegate_controller_published_sequence",
                "Sequence of the newest publication of this term.",
            )?,
            objects: IntGaugeVec::new(
                Opts::new("tidegate_controller_objects", "Objects by kind and whether they are accepted."),
                &["kind", "accepted"],
            )?,
            intents: IntCounterVec::new(
                Opts::new(
                    "tidegate_controller_intents_total",
                    "Changes asked for at gateways, by action and outcome.",
                ),
                &["action", "outcome"],
            )?,
            build_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "tidegate_controller_build_seconds",
                    "Seconds from objects to a snapshot, compiling included.",
                )
                .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]),
            )?,
            compile_problems: IntGauge::new(
                "tidegate_controller_compile_problems",
                "Policies whose newest form is not in force.",
            )?,
            write_failures: IntCounterVec::new(
                Opts::new(
                    "tidegate_controller_write_failures_total",
                    "Failed writes, by what was written (state, store); each is tried again.",
                ),
                &["to"],
            )?,
            write_failed_at: IntGaugeVec::new(
                Opts::new(
                    "tidegate_controller_last_write_failure_timestamp_seconds",
                    "When a write failed last, by what was written (state, store); absent before the first.",
                ),
                &["to"],
            )?,
            events_dropped: IntCounter::new(
                "tidegate_controller_events_dropped_total",
                "Events for the terminal that nobody read in time.",
            )?,
            held_back: IntGauge::new(
                "tidegate_controller_accounts_held_back",
                "Accounts gone without having been deleted, too many to be believed; still in force.",
            )?,
            conditions: IntGaugeVec::new(
                Opts::new(
                    "tidegate_controller_conditions",
                    "Conditions of objects by kind, type and status.",
                ),
                &["kind", "type", "status"],
            )?,
            in_flight: IntGauge::new(
                "tidegate_controller_publications_in_flight",
                "Publications that are not in force on every gateway yet.",
            )?,
            propagation_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "tidegate_controller_propagation_seconds",
                    "Seconds from a publication until every gateway has it in force.",
                )
                .buckets(vec![0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 30.0]),
            )?,
        };
        registry.register(Box::new(metrics.publications.clone()))?;
        registry.register(Box::new(metrics.sequence.clone()))?;
        registry.register(Box::new(metrics.objects.clone()))?;
        registry.register(Box::new(metrics.intents.clone()))?;
        registry.register(Box::new(metrics.build_seconds.clone()))?;
        registry.register(Box::new(metrics.compile_problems.clone()))?;
        registry.register(Box::new(metrics.write_failures.clone()))?;
        registry.register(Box::new(metrics.write_failed_at.clone()))?;
        registry.register(Box::new(metrics.events_dropped.clone()))?;
        registry.register(Box::new(metrics.held_back.clone()))?;
        registry.register(Box::new(metrics.conditions.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.propagation_seconds.clone()))?;
        Ok(metrics)
    }

    /// Counts a write that failed now.
    pub fn write_failed(&self, to: &str) {
        self.write_failures.with_label_values(&[to]).inc();
        self.write_failed_at.with_label_values(&[to]).set(crate::time::now().0);
    }

    /// Shows how many objects have which conditions.
    pub fn count_conditions(&self, counts: &Counts) {
        for ((kind, of, truth), count) in counts {
            self.conditions.with_label_values(&[kind.as_str(), of.as_str(), truth.as_str()]).set(*count);
        }
    }
}
