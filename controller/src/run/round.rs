//! One round: from everything that was read to everything that is published and said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::{AccountId, Code, Timestamp};
use tidegate_store::audit::{AuditLog, Event, ObjectRef, Record};
use tidegate_store::{Change, Publication, Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::intents::Limit;
use super::{Config, FIRST_GATEWAY_POLL, Next, PROPAGATION_POLL, REPORTS_POLL, RETRY, StartError};
use crate::activation::Slips;
use crate::build::{self, Built, Input, Settings, existing_resources, parts};
use crate::credentials::{Effect, Vault};
use crate::events::{ControllerEvent, Object, Problem, Teller};
use crate::fleet::Fleet;
use crate::form::{Items, Refusal, department_of};
use crate::identity::{Register, Round};
use crate::intake::{self, Intake, Reading};
use crate::last_good::LastGood;
use crate::metrics::Metrics;
use crate::objects::{ObjectKey, ObjectKind};
use crate::people::{self, People};
use crate::propagation::{Departures, InFlight, Stamps, judge};
use crate::publish::{Published, losses};
use crate::rules::Compiler;
use crate::state::{State, StateError};
use crate::status::{ConditionType, Ledger, ObjectStatus, Truth};

/// The controller between two rounds.
pub(super) struct Controller<S> {
    pub(super) state: Arc<State>,
    pub(super) store: S,
    pub(super) vault: Vault,
    pub(super) teller: Teller,
    pub(super) metrics: Metrics,
    pub(super) limit: Limit,
    /// The pods of the pool, where gateways are pods.
    pub(super) fleet: Option<watch::Receiver<Fleet>>,
    audit: Option<AuditLog>,
    settings: Settings,
    intake: Intake,
    register: Register,
    last_good: LastGood,
    ledger: Ledger,
    compiler: Compiler,
    published: Published,
    stamps: Stamps,
    in_flight: InFlight,
    departures: Departures,
    statuses: Vec<ObjectStatus>,
    slips: Slips,
    /// Problems already told to the terminal.
    told: BTreeSet<Problem>,
    /// Objects of the last round.
    objects: BTreeSet<ObjectKey>,
    /// The failure told last, while it lasts.
    failing: Option<String>,
}

impl<S: Store> Controller<S> {
    /// Reads the state directory and what the store has.
    pub(super) fn load(
        config: Config,
        state: Arc<State>,
        store: S,
        teller: Teller,
    ) -> Result<Self, StartError> {
        let Config { mut settings, metrics, audit, fleet } = config;
        let register = Register::load(&state)?;
        let (mut vault, credential_problems) = Vault::load(&state)?;
        let (last_good, form_problems) = LastGood::load(&state)?;
        let ledger = Ledger::load(&state)?;
        let slips = Slips::load(&state)?;
        for problem in credential_problems.iter().chain(&form_problems) {
            teller
                .tell(ControllerEvent::WriteFailed { code: problem.code.id(), message: problem.to_string() });
        }
        let snapshot = store.subscribe().borrow().snapshot.clone();
        let published = match &snapshot {
            Some(snapshot) => {
                settings.not_before = settings.not_before.max(snapshot.platform.not_before);
                for account in
                    snapshot.departments.values().flat_map(|department| department.accounts.values())
                {
                    if let Some(credential) = &account.credential {
                        vault.at_least_epoch(&account.source.uid, credential.epoch);
                    }
                }
                Published::from_snapshot(snapshot)
            }
            // A new or wiped store has forgotten which sessions were ended one by one.
            None => {
                settings.not_before = settings.not_before.max(crate::time::now());
                Published::default()
            }
        };
        Ok(Self {
            state,
            store,
            vault,
            teller,
            metrics,
            limit: Limit::default(),
            fleet,
            audit,
            settings,
            intake: Intake::default(),
            register,
            last_good,
            ledger,
            compiler: Compiler::default(),
            published,
            stamps: Stamps::default(),
            in_flight: InFlight::default(),
            departures: Departures::default(),
            statuses: Vec::new(),
            slips,
            told: BTreeSet::new(),
            objects: BTreeSet::new(),
            failing: None,
        })
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Everything, from the start. What fails is told, and tried again after [`RETRY`].
    pub(super) async fn round(&mut self, reading: &Arc<Reading>) -> Next {
        let started = Instant::now();
        let now = crate::time::now();
        let outcome = self.attempt(reading, now).await;
        self.metrics.build_seconds.observe(started.elapsed().as_secs_f64());
        let later = || Some(Instant::now() + RETRY);
        let (holds_until, retry) = match outcome {
            Ok(done) if self.vault.has_unsaved() => (done.holds_until, later()),
            // Whatever else has to be done comes in between.
            Ok(done) => (done.holds_until, (!done.laid_out).then(Instant::now)),
            Err(Unfinished) => (Timestamp::NEVER, later()),
        };
        Next { holds_until, retry, reports_at: self.refresh().await, intents_from: Instant::now() }
    }

    async fn attempt(&mut self, reading: &Reading, now: Timestamp) -> Result<Done, Unfinished> {
        self.ledger.recall(reading);
        self.metrics.held_back.set(i64::try_from(reading.held_back).unwrap_or(i64::MAX));
        for (key, uid) in &reading.unheld {
            self.state.hold(key, uid);
        }

        // Who is who.
        let taken = self.intake.take(reading, &mut self.register, now);
        let (items, missed) = taken.map_err(|error| self.state_failed(&error))?;
        let parts = parts(&items, &self.last_good, |key, source, spec| {
            intake::reread(key, source, spec, &reading.config_maps, now)
        });
        let people = people::people(&items, &parts.codes(), &self.register);

        // Who may be, and since when not.
        let (effects, holds_until) = people::observe(&people, &parts, &mut self.vault, &self.state, now);

        // What is taken away is in force before anything waits for disk or compiler.
        let resources = existing_resources(&items);
        let lost = losses(&self.published, &parts.codes(), &resources, &people, &self.vault, now);
        if let Some(publication) = lost {
            self.publish(publication).await?;
        }

        // The truth is stored before anything is given.
        self.register.save(&self.state).map_err(|error| self.state_failed(&error))?;
        for error in self.vault.save(&self.state) {
            let _told = self.state_failed(&error);
        }

        // Everything.
        let input = Input {
            items: &items,
            parts: &parts,
            people: &people,
            vault: &self.vault,
            published: &self.published,
            settings: &self.settings,
            now,
        };
        let built = build::build(&input, &mut self.compiler);
        let Built { platform, departments, statuses, last_good, refusals, compile_problems } = built;
        self.last_good.replace(last_good);
        self.last_good.save(&self.state).map_err(|error| self.state_failed(&error))?;
        if let Some(publication) = self.published.difference(&platform, &departments) {
            self.publish(publication).await?;
        }
        self.stamps
            .note(items.iter().map(|(key, item)| (key, item.source.generation)), self.published.generation);
        self.departures.note(&reading.leaving, self.published.generation);

        // What is said about it.
        let laid_out = self.lay_out_codes(&people);
        self.count(&items, &refusals, compile_problems);
        self.statuses = statuses;
        self.tell(reading, &items, &refusals, &effects, now);
        self.forget(&missed)?;
        if !self.vault.has_unsaved() && laid_out.is_ok() {
            self.failing = None;
        }
        self.teller.ready(self.published.generation);
        Ok(Done { holds_until, laid_out: laid_out? })
    }

    /// Publishes what changed. A department too large to be published keeps the others from nothing.
    async fn publish(&mut self, publication: Publication) -> Result<(), Unfinished> {
        match self.store.publish(publication.clone()).await {
            Ok(generation) => {
                self.note(publication, generation);
                Ok(())
            }
            Err(StoreError::Full { .. }) if publication.departments.len() > 1 => {
                let mut outcome = Ok(());
                let platform = Publication { platform: publication.platform, departments: Vec::new() };
                let each = publication
                    .departments
                    .into_iter()
                    .map(|change| Publication { platform: None, departments: vec![change] });
                for one in std::iter::once(platform).chain(each) {
                    match self.store.publish(one.clone()).await {
                        Ok(generation) => self.note(one, generation),
                        Err(error) => outcome = Err(self.store_failed(&error)),
                    }
                }
                outcome
            }
            Err(error) => Err(self.store_failed(&error)),
        }
    }

    fn note(&mut self, publication: Publication, generation: tidegate_core::Generation) {
        if generation != self.published.generation {
            let departments = publication
                .departments
                .iter()
                .map(|change| match change {
                    Change::Put(department) => department.code.to_string(),
                    Change::Remove(code) => code.to_string(),
                })
                .collect();
            self.metrics.publications.inc();
            self.in_flight.published(generation, std::time::Instant::now());
            self.metrics.sequence.set(i64::try_from(generation.sequence).unwrap_or(i64::MAX));
            self.teller.published(generation, departments, publication.platform.is_some());
        }
        self.published.note(publication, generation);
    }

    /// Lays out activation codes; whether all of them are.
    fn lay_out_codes(&mut self, people: &People) -> Result<bool, Unfinished> {
        let vault = &self.vault;
        let outstanding: Vec<_> = people
            .all()
            .filter_map(|(id, person)| {
                let uid = &person.account.source.uid;
                Some((id, uid, vault.record(uid)?.activation()?.issue))
            })
            .collect();
        let outstanding = outstanding.iter().map(|(id, uid, issue)| (id, *uid, *issue));
        self.slips.update(&self.state, outstanding).map_err(|error| self.state_failed(&error))
    }

    /// Accounts that were gone for long enough lose their credentials.
    fn forget(&mut self, missed: &Round) -> Result<(), Unfinished> {
        for (_, uid) in missed.forgotten.iter().filter(|(key, _)| key.kind == ObjectKind::VpnUser) {
            self.vault.forget(&self.state, uid).map_err(|error| self.state_failed(&error))?;
        }
        Ok(())
    }

    fn count(&self, items: &Items, refusals: &BTreeMap<ObjectKey, Refusal>, compile_problems: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for kind in ObjectKind::ALL {
            let refused = refusals.keys().filter(|key| key.kind == kind && items.contains_key(*key)).count();
            let all = items.keys().filter(|key| key.kind == kind).count();
            let gauge = |accepted| self.metrics.objects.with_label_values(&[kind.as_str(), accepted]);
            gauge("true").set(count(all.saturating_sub(refused)));
            gauge("false").set(count(refused));
        }
        self.metrics.compile_problems.set(count(compile_problems));
    }

    /// Says what became different since the last round, to the terminal and to the audit.
    fn tell(
        &mut self,
        reading: &Reading,
        items: &Items,
        refusals: &BTreeMap<ObjectKey, Refusal>,
        effects: &[(AccountId, Effect)],
        now: Timestamp,
    ) {
        let mut problems: BTreeSet<Problem> = reading.problems.iter().cloned().collect();
        let mut accepted = Vec::new();
        for (key, item) in items {
            let refusal = refusals.get(key);
            problems.extend(item.violations.iter().map(|violation| {
                let text = violation.to_string();
                let message = text.split_once(' ').map_or(text.as_str(), |(_, message)| message);
                problem(violation.code, key, reading.place(key, &violation.path), message)
            }));
            if let Some(refusal) = refusal.filter(|_| item.violations.is_empty()) {
                problems.insert(problem(
                    refusal.code,
                    key,
                    reading.place(key, &refusal.path),
                    &refusal.message,
                ));
            }
            let generation = item.source.generation;
            let refused = refusal.map(ToString::to_string);
            if self.ledger.knows(key, generation, refused.as_deref()) {
                continue;
            }
            if refusal.is_none() {
                accepted.push(ControllerEvent::Accepted { object: Object::from(key) });
            }
            self.record(Record {
                at: now,
                event: Event::Object {
                    object: ObjectRef {
                        kind: key.kind.as_str().into(),
                        namespace: key.namespace.clone(),
                        name: key.name.clone(),
                        generation,
                        origin: reading.place(key, "").into(),
                    },
                    refused: refusal.map(|refusal| (refusal.code, refusal.message.as_str().into())),
                },
            });
        }
        for problem in problems.difference(&self.told) {
            self.teller.tell(ControllerEvent::Refused(problem.clone()));
        }
        self.told = problems;
        accepted.into_iter().for_each(|event| self.teller.tell(event));
        for key in self.objects.iter().filter(|key| !items.contains_key(*key)) {
            self.teller.tell(ControllerEvent::Removed { object: Object::from(key) });
        }
        self.objects = items.keys().cloned().collect();
        for (account, effect) in effects {
            match effect {
                Effect::CodeIssued => self.teller.code_issued(account),
                Effect::EpochRaised => self.teller.sessions_void(account),
                Effect::Made | Effect::StandingRegained | Effect::CodeWithdrawn | Effect::PasswordSet => {}
            }
        }
    }

    /// Says for every object whether it is in force everywhere, and lays the statuses out.
    /// Returns when to look again.
    pub(super) async fn refresh(&mut self) -> Instant {
        let reports = match self.store.reports().await {
            Ok(reports) => reports,
            Err(error) => {
                let _told = self.store_failed(&error);
                return Instant::now() + REPORTS_POLL;
            }
        };
        let now = crate::time::now();
        for took in self.in_flight.arrived(&reports, std::time::Instant::now()) {
            self.metrics.propagation_seconds.observe(took.as_secs_f64());
        }
        self.metrics.in_flight.set(i64::try_from(self.in_flight.waiting()).unwrap_or(i64::MAX));
        let mut again = REPORTS_POLL;
        let fleet = self.fleet.as_ref().map(|fleet| *fleet.borrow());
        for status in &mut self.statuses {
            if status.key.kind == ObjectKind::VpnGateway {
                status.says_no = fleet.and_then(Fleet::says_no);
            }
            let (truth, reason, message) = if status.is(ConditionType::Accepted) {
                let wanted = self.stamps.of(&status.key, status.source.generation);
                judge(&reports, wanted, department_of(&status.key.namespace).as_ref(), now)
            } else {
                (Truth::False, "NotAccepted", "only what is accepted is published".to_owned())
            };
            again = again.min(match reason {
                "GatewayPending" => PROPAGATION_POLL,
                "NoGateway" => FIRST_GATEWAY_POLL,
                _ => REPORTS_POLL,
            });
            status.set(ConditionType::Propagated, truth, reason, message);
            status.sum_up();
        }
        self.metrics.count_conditions(&self.statuses);
        for (key, uid) in self.departures.in_force(&reports) {
            self.state.let_go(&key, &uid);
        }
        if self.departures.any_waits() {
            again = again.min(PROPAGATION_POLL);
        }
        if let Err(error) = self.state.mend() {
            let _told = self.state_failed(&error);
        }
        let laid_out = self
            .ledger
            .update(&self.state, &self.statuses, now)
            .and_then(|_| self.ledger.update_problems(&self.state, &self.told));
        if let Err(error) = laid_out {
            let _told = self.state_failed(&error);
        }
        Instant::now() + again
    }

    pub(super) fn record(&self, record: Record) {
        if let Some(audit) = &self.audit {
            // The trail itself notes how many records it lost.
            let _ = audit.record(record);
        }
    }

    pub(super) fn state_failed(&mut self, error: &StateError) -> Unfinished {
        self.failed("state", error.code.id(), error.to_string())
    }

    pub(super) fn store_failed(&mut self, error: &StoreError) -> Unfinished {
        self.failed("store", error.code().id(), error.to_string())
    }

    /// Tells a failure once, however often it is met again before things work.
    fn failed(&mut self, to: &str, code: String, message: String) -> Unfinished {
        self.metrics.write_failures.with_label_values(&[to]).inc();
        if self.failing.as_ref() != Some(&message) {
            self.failing = Some(message.clone());
            self.teller.tell(ControllerEvent::WriteFailed { code, message });
        }
        Unfinished
    }
}

fn problem(code: Code, key: &ObjectKey, origin: String, message: &str) -> Problem {
    Problem { code: code.id(), object: key.to_string(), origin, message: message.to_owned() }
}

/// A round that came to its end.
struct Done {
    /// When time alone changes a condition.
    holds_until: Timestamp,
    /// Whether all activation codes are laid out; the others follow in the next rounds.
    laid_out: bool,
}

/// A round that did not come to its end; why has been told.
#[must_use = "somebody has to try again"]
pub(super) struct Unfinished;
