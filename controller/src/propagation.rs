//! Whether what an object says is in force on every gateway that is known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::{DepartmentCode, Generation, Source, Timestamp, Uid};
use tidegate_store::{Ack, GatewayId, Report};

use crate::objects::{ObjectKey, TenantName};
use crate::status::Truth;

/// Seconds after which a gateway that says nothing is unreachable.
const SILENT_S: i64 = 30;

/// Names of gateways a message lists.
const NAMES_MAX: usize = 5;

/// Most publications whose way to the gateways is followed.
const IN_FLIGHT_MAX: usize = 256;

/// Which publication first said what an object says now.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    tenants: BTreeMap<TenantName, BTreeMap<ObjectKey, (Source, Generation)>>,
}

impl Stamps {
    /// Notes the publication after which a tenant's `objects` (each with its UID and generation) are all published.
    pub fn note<'a>(
        &mut self,
        tenant: &TenantName,
        objects: impl Iterator<Item = (&'a ObjectKey, Source)>,
        published: Generation,
    ) {
        let before = self.tenants.remove(tenant).unwrap_or_default();
        let stamp = |(key, source): (&'a ObjectKey, Source)| match before.get(key) {
            Some(stamp) if stamp.0 == source => (key.clone(), stamp.clone()),
            _ => (key.clone(), (source, published)),
        };
        let next: BTreeMap<_, _> = objects.map(stamp).collect();
        if !next.is_empty() {
            self.tenants.insert(Arc::clone(tenant), next);
        }
    }

    /// The publication an object waits for.
    #[must_use]
    pub fn of(&self, key: &ObjectKey, source: &Source) -> Option<Generation> {
        let stamp = self.tenants.get(key.tenant())?.get(key)?;
        (stamp.0 == *source).then_some(stamp.1)
    }
}

/// What the gateways reported, as far as it decides what is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    gateways: BTreeMap<GatewayId, (Ack, bool)>,
}

/// Whose conditions may be others when gateways report something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affected {
    /// Nobody's.
    None,
    /// Those that are not in force everywhere.
    Waiting,
    /// Everybody's: a gateway came or went, went back, or cannot load something.
    All,
}

impl Outlook {
    /// What these reports come to at an instant.
    #[must_use]
    pub fn of(reports: &[Report], now: Timestamp) -> Self {
        let gateway = |report: &Report| {
            let silent = is_silent(report, now);
            // When it was said is told by whether the gateway is silent.
            (report.ack.gateway.clone(), (Ack { at: Timestamp(0), ..report.ack.clone() }, silent))
        };
        Self { gateways: reports.iter().map(gateway).collect() }
    }

    /// Whose conditions may be others since `before`.
    #[must_use]
    pub fn affects(&self, before: &Self) -> Affected {
        if self == before {
            return Affected::None;
        }
        let went_on = |(id, (ack, _)): (&GatewayId, &(Ack, bool))| {
            let before = before.gateways.get(id).map(|(before, _)| before);
            before.is_some_and(|before| before.broken == ack.broken && before.generation <= ack.generation)
        };
        let same = self.gateways.len() == before.gateways.len() && self.gateways.iter().all(went_on);
        if same { Affected::Waiting } else { Affected::All }
    }

    /// Whether there is no gateway.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }

    /// Whether a gateway that was heard of lately has not got `published` yet.
    #[must_use]
    pub fn is_awaited(&self, published: Generation) -> bool {
        self.gateways.values().any(|(ack, silent)| !silent && ack.generation < published)
    }
}

fn is_silent(report: &Report, now: Timestamp) -> bool {
    now.since(report.ack.at) > SILENT_S
}

/// Publications that are not in force everywhere yet, and when they were made.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    made: VecDeque<(Generation, Instant)>,
}

impl InFlight {
    /// Notes a publication; the oldest is forgotten when too many wait.
    pub fn published(&mut self, generation: Generation, now: Instant) {
        if self.made.len() >= IN_FLIGHT_MAX {
            self.made.pop_front();
        }
        self.made.push_back((generation, now));
    }

    /// How long each publication took that every gateway has by now.
    pub fn arrived(&mut self, reports: &[Report], now: Instant) -> Vec<Duration> {
        let Some(slowest) = reports.iter().map(|report| report.ack.generation).min() else {
            return Vec::new();
        };
        let mut took = Vec::new();
        while let Some((_, made)) = self.made.pop_front_if(|(generation, _)| *generation <= slowest) {
            took.push(now.saturating_duration_since(made));
        }
        took
    }

    /// How many still wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.made.len()
    }
}

/// Objects on their way out: their deletion waits until every gateway has heard of it.
#[derive(Clone, Debug, Default)]
pub struct Departures {
    by_key: BTreeMap<ObjectKey, Departure>,
}

#[derive(Clone, Debug)]
struct Departure {
    uid: Uid,
    published: Generation,
    let_go: bool,
}

impl Departures {
    /// Notes the publication that has nothing of `leaving` in it any more.
    pub fn note(&mut self, leaving: &BTreeMap<ObjectKey, Uid>, published: Generation) {
        self.by_key.retain(|key, departure| leaving.get(key) == Some(&departure.uid));
        for (key, uid) in leaving {
            self.by_key.entry(key.clone()).or_insert_with(|| Departure {
                uid: uid.clone(),
                published,
                let_go: false,
            });
        }
    }

    /// Those that need not wait any longer: every gateway that is known has that publication.
    /// Each is named once.
    pub fn in_force(&mut self, reports: &[Report]) -> Vec<(ObjectKey, Uid)> {
        let Some(slowest) = reports.iter().map(|report| report.ack.generation).min() else {
            return self.let_go(|_| true);
        };
        self.let_go(|published| published <= slowest)
    }

    fn let_go(&mut self, may: impl Fn(Generation) -> bool) -> Vec<(ObjectKey, Uid)> {
        let mut gone = Vec::new();
        for (key, departure) in &mut self.by_key {
            if !departure.let_go && may(departure.published) {
                departure.let_go = true;
                gone.push((key.clone(), departure.uid.clone()));
            }
        }
        gone
    }

    /// Whether any still waits for a gateway.
    #[must_use]
    pub fn any_waits(&self) -> bool {
        self.by_key.values().any(|departure| !departure.let_go)
    }
}

/// Judges one object from what the gateways reported: truth, reason, message.
#[must_use]
pub fn judge(
    reports: &[Report],
    wanted: Option<Generation>,
    department: Option<&DepartmentCode>,
    now: Timestamp,
) -> (Truth, &'static str, String) {
    let Some(wanted) = wanted else {
        return (Truth::False, "NotPublished", "waits to be published".to_owned());
    };
    if reports.is_empty() {
        return (Truth::False, "NoGateway", "no gateway has reported yet".to_owned());
    }
    if let Some((report, why)) =
        reports.iter().find_map(|report| Some((report, report.ack.broken.get(department?)?)))
    {
        let message = format!("gateway {} cannot load it: {why}", report.ack.gateway.0);
        return (Truth::False, "GatewayCannotLoad", message);
    }
    let behind: Vec<&Report> = reports.iter().filter(|report| report.ack.generation < wanted).collect();
    if behind.is_empty() {
        return (Truth::True, "Propagated", format!("in force on {} of {0} gateways", reports.len()));
    }
    let silent = |report: &&&Report| is_silent(report, now);
    let names = |reports: &mut dyn Iterator<Item = &&Report>| {
        reports.take(NAMES_MAX).map(|report| report.ack.gateway.0.as_str()).collect::<Vec<_>>().join(", ")
    };
    if behind.iter().any(|report| silent(&report)) {
        let names = names(&mut behind.iter().filter(silent));
        return (Truth::Unknown, "GatewayUnreachable", format!("nothing heard from {names}"));
    }
    (Truth::False, "GatewayPending", format!("not yet in force on {}", names(&mut behind.iter())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectKind;

    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn generation(sequence: u64) -> Generation {
        Generation { term: 1, sequence }
    }

    fn report(name: &str, sequence: u64, at: Timestamp) -> Report {
        let ack = Ack {
            gateway: GatewayId(name.into()),
            generation: generation(sequence),
            broken: BTreeMap::new(),
            evaluators: Vec::new(),
            kids: Vec::new(),
            at,
        };
        Report { ack, sessions: Vec::new() }
    }

    #[test]
    fn every_known_gateway_counts() {
        let wanted = Some(generation(5));
        let reason = |reports: &[Report]| {
            let (truth, reason, _) = judge(reports, wanted, None, NOW);
            (truth, reason)
        };
        assert_eq!(reason(&[]), (Truth::False, "NoGateway"));
        assert_eq!(reason(&[report("a", 5, NOW)]), (Truth::True, "Propagated"));
        let (one, two) = (report("a", 6, NOW), report("b", 4, NOW));
        assert_eq!(reason(&[one.clone(), two]), (Truth::False, "GatewayPending"));
        let silent = report("b", 4, NOW.plus(-SILENT_S - 1));
        assert_eq!(reason(&[one.clone(), silent]), (Truth::Unknown, "GatewayUnreachable"));
        assert_eq!(judge(&[one], None, None, NOW).1, "NotPublished");
    }

    #[test]
    fn a_publication_has_arrived_with_the_slowest_gateway() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut way = InFlight::default();
        way.published(generation(1), at(0));
        way.published(generation(2), at(1));
        assert!(way.arrived(&[], at(2)).is_empty());
        assert_eq!(way.arrived(&[report("a", 2, NOW), report("b", 1, NOW)], at(3)), [Duration::from_secs(3)]);
        assert_eq!(way.waiting(), 1);
        assert_eq!(way.arrived(&[report("a", 2, NOW), report("b", 2, NOW)], at(4)), [Duration::from_secs(3)]);
        for sequence in 0..2 * IN_FLIGHT_MAX as u64 {
            way.published(generation(sequence), start);
        }
        assert_eq!(way.waiting(), IN_FLIGHT_MAX);
    }

    #[test]
    fn a_gateway_that_cannot_load_a_department_says_so_for_its_objects_only() {
        let mut report = report("a", 5, NOW);
        let (sbj, jy): (DepartmentCode, DepartmentCode) = ("sbj".parse().unwrap(), "jy".parse().unwrap());
        report.ack.broken.insert(sbj.clone(), "bad module".into());
        let wanted = Some(generation(5));
        assert_eq!(judge(std::slice::from_ref(&report), wanted, Some(&sbj), NOW).1, "GatewayCannotLoad");
        assert_eq!(judge(&[report], wanted, Some(&jy), NOW).1, "Propagated");
    }

    #[test]
    fn a_deletion_waits_for_every_gateway_and_for_none_if_there_is_none() {
        let (li, uid) =
            (ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li"), "u-1".parse::<Uid>().unwrap());
        let leaving = BTreeMap::from([(li.clone(), uid.clone())]);
        let mut departures = Departures::default();
        departures.note(&leaving, generation(5));
        departures.note(&leaving, generation(9));
        assert!(departures.in_force(&[report("a", 6, NOW), report("b", 4, NOW)]).is_empty());
        assert!(departures.any_waits());
        assert_eq!(departures.in_force(&[report("a", 6, NOW), report("b", 5, NOW)]), [(li, uid)]);
        assert!(departures.in_force(&[]).is_empty(), "each is named once");
        departures.note(&BTreeMap::new(), generation(9));
        departures.note(&leaving, generation(9));
        assert_eq!(departures.in_force(&[]).len(), 1);
    }

    #[test]
    fn only_what_waits_is_affected_by_a_gateway_that_goes_on() {
        let at = |reports: &[Report]| Outlook::of(reports, NOW);
        let before = at(&[report("a", 4, NOW), report("b", 4, NOW)]);
        let again = at(&[report("a", 4, NOW.plus(-1)), report("b", 4, NOW)]);
        assert_eq!(again.affects(&before), Affected::None);
        let on = at(&[report("a", 5, NOW), report("b", 4, NOW)]);
        assert_eq!(on.affects(&before), Affected::Waiting);
        assert_eq!(before.affects(&on), Affected::All, "it went back");
        let silent = at(&[report("a", 4, NOW.plus(-SILENT_S - 1)), report("b", 4, NOW)]);
        assert_eq!(silent.affects(&before), Affected::Waiting);
        assert_eq!(at(&[report("a", 4, NOW)]).affects(&before), Affected::All);
        assert!(before.is_awaited(generation(5)) && !on.is_awaited(generation(4)));
        assert!(!at(&[report("a", 4, NOW.plus(-SILENT_S - 1))]).is_awaited(generation(5)));
    }

    #[test]
    fn only_a_new_generation_of_an_object_or_another_object_waits_again() {
        let key = ObjectKey::new(ObjectKind::Resource, "dept-sbj", "x");
        let source = |uid: &str, generation| Source { uid: uid.parse().unwrap(), generation };
        let mut stamps = Stamps::default();
        let mut note = |seen: &[Source], published| {
            stamps.note(key.tenant(), seen.iter().map(|seen| (&key, seen.clone())), generation(published));
            [("u-1", 1), ("u-1", 2), ("u-2", 2)].map(|(uid, generation)| {
                stamps.of(&key, &source(uid, generation)).map(|published| published.sequence)
            })
        };
        assert_eq!(note(&[source("u-1", 1)], 1), [Some(1), None, None]);
        assert_eq!(note(&[source("u-1", 1)], 2), [Some(1), None, None]);
        assert_eq!(note(&[source("u-1", 2)], 3), [None, Some(3), None]);
        assert_eq!(note(&[source("u-2", 2)], 4), [None, None, Some(4)]);
        assert_eq!(note(&[], 5), [None; 3]);
    }
}
