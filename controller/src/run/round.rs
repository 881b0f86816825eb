//! One round: from everything that was read to everything that is published and said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use tidegate_core::{AccountId, Code, Timestamp};
use tidegate_store::audit::{AuditLog, Event, ObjectRef, Record};
use tidegate_store::{Change, Publication, Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::intents::Limit;
use super::{Config, LOOK, Next, RETRY, StartError, TURN};
use crate::activation::Slips;
use crate::build::Builder;
use crate::credentials::Effect;
use crate::events::{ControllerEvent, Object, Problem, Teller};
use crate::fleet::Fleet;
use crate::form::department_of;
use crate::intake::{Reading, Tenant};
use crate::metrics::Metrics;
use crate::objects::{ObjectKey, ObjectKind, TenantName};
use crate::propagation::{Departures, InFlight, Outlook, Stamps};
use crate::publish::Published;
use crate::state::{State, StateError};
use crate::status::Ledger;

/// The controller between two rounds.
pub(super) struct Controller<S> {
    pub(super) state: Arc<State>,
    pub(super) store: S,
    pub(super) builder: Builder,
    pub(super) teller: Teller,
    pub(super) metrics: Metrics,
    pub(super) limit: Limit,
    /// The pods of the pool, where gateways are pods.
    pub(super) fleet: Option<watch::Receiver<Fleet>>,
    pub(super) ledger: Ledger,
    pub(super) published: Published,
    pub(super) stamps: Stamps,
    pub(super) in_flight: InFlight,
    pub(super) departures: Departures,
    /// What gateways reported last.
    pub(super) outlook: Outlook,
    /// The pods that were spoken of last.
    pub(super) fleet_said: Option<Fleet>,
    /// Objects whose conditions have to be looked at.
    pub(super) unsaid: BTreeSet<ObjectKey>,
    /// Objects that are accepted and not in force everywhere.
    pub(super) waiting: BTreeSet<ObjectKey>,
    /// Problems already told to the terminal, by tenant; those of no object apart.
    pub(super) told: BTreeMap<Option<TenantName>, BTreeSet<Problem>>,
    /// When reports and conditions are looked at, if that is sooner than usual.
    pub(super) look_at: Option<Instant>,
    audit: Option<AuditLog>,
    /// What was read last of each tenant.
    seen: BTreeMap<TenantName, Arc<Tenant>>,
    slips: Slips,
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
        let Config { settings, metrics, audit, fleet, ledger } = config;
        let (mut builder, problems) = Builder::load(&state, settings)?;
        let ledger = match &ledger {
            Some(shared) => std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Ledger::load(&state)?,
        };
        let slips = Slips::load(&state)?;
        for problem in &problems {
            teller
                .tell(ControllerEvent::WriteFailed { code: problem.code.id(), message: problem.to_string() });
        }
        let snapshot = store.subscribe().borrow().snapshot.clone();
        let not_before = &mut builder.settings_mut().not_before;
        let published = match &snapshot {
            Some(snapshot) => {
                *not_before = (*not_before).max(snapshot.platform.not_before);
                for account in
                    snapshot.departments.values().flat_map(|department| department.accounts.values())
                {
                    if let Some(credential) = &account.credential {
                        builder.vault.at_least_epoch(&account.source.uid, credential.epoch);
                    }
                }
                Published::from_snapshot(snapshot)
            }
            // A new or wiped store has forgotten which sessions were ended one by one. Times are whole seconds: what
            // began in this one began before.
            None => {
                *not_before = (*not_before).max(crate::time::now().plus(1));
                Published::default()
            }
        };
        Ok(Self {
            state,
            store,
            builder,
            teller,
            metrics,
            limit: Limit::default(),
            fleet,
            ledger,
            published,
            stamps: Stamps::default(),
            in_flight: InFlight::default(),
            departures: Departures::default(),
            outlook: Outlook::default(),
            fleet_said: None,
            unsaid: BTreeSet::new(),
            waiting: BTreeSet::new(),
            told: BTreeMap::new(),
            look_at: None,
            audit,
            seen: BTreeMap::new(),
            slips,
            failing: None,
        })
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Everything that is due. What fails is told, and tried again after [`RETRY`].
    pub(super) async fn round(&mut self, reading: &Arc<Reading>) -> Next {
        let started = Instant::now();
        let now = crate::time::now();
        let outcome = self.attempt(reading, now).await;
        self.metrics.build_seconds.observe(started.elapsed().as_secs_f64());
        let later = || Some(Instant::now() + RETRY);
        let published = outcome.is_ok();
        let (holds_until, retry) = match outcome {
            Ok(laid_out) => match laid_out {
                _ if self.builder.vault.has_unsaved() => (self.builder.holds_until(), later()),
                LaidOut::All => (self.builder.holds_until(), None),
                // Whatever else has to be done comes in between.
                LaidOut::Some => (self.builder.holds_until(), Some(Instant::now() + TURN)),
                LaidOut::Failed => (self.builder.holds_until(), later()),
            },
            Err(Unfinished) => (Timestamp::NEVER, later()),
        };
        // Gateways are given a moment, so that one look is enough.
        let reports_at = *self.look_at.get_or_insert(Instant::now() + LOOK);
        let ended = Instant::now();
        Next { holds_until, retry, reports_at, objects_from: ended + TURN, intents_from: ended, published }
    }

    async fn attempt(&mut self, reading: &Reading, now: Timestamp) -> Result<LaidOut, Unfinished> {
        self.metrics.held_back.set(i64::try_from(reading.held_back).unwrap_or(i64::MAX));
        let state = Arc::clone(&self.state);

        // Who is who; who may be, and since when not.
        let effects = self.builder.take(reading, &state, now).map_err(|error| self.state_failed(&error))?;

        // What is taken away is in force before anything waits for disk or compiler.
        if let Some(publication) = self.builder.losses(&self.published, now) {
            self.publish(publication).await?;
        }

        // The truth is stored before anything is given.
        for error in self.builder.save(&state).map_err(|error| self.state_failed(&error))? {
            let _told = self.state_failed(&error);
        }

        // Everything.
        self.builder.build(&self.published, &state).map_err(|error| self.state_failed(&error))?;
        if let Some(publication) = self.builder.difference(&self.published) {
            self.publish(publication).await?;
        }
        self.share();

        // What is said about it.
        self.note_codes();
        let laid_out = self.lay_out_codes();
        self.note_due(reading, &effects, now);
        self.builder.done(&self.published);
        self.builder.forget_gone(&state).map_err(|error| self.state_failed(&error))?;
        if !self.builder.vault.has_unsaved() && !matches!(laid_out, LaidOut::Failed) {
            self.failing = None;
        }
        self.teller.ready(self.published.generation);
        Ok(laid_out)
    }

    /// What the store shows takes the place of what was handed to it: one copy is enough.
    fn share(&mut self) {
        let shown = self.store.subscribe().borrow().snapshot.clone();
        if let Some(shown) = shown {
            self.published.share_with(&shown);
        }
    }

    /// Takes note of everything that has to be said about what was done.
    fn note_due(&mut self, reading: &Reading, effects: &[(AccountId, Effect)], now: Timestamp) {
        let due: Vec<TenantName> = self.builder.due().cloned().collect();
        for name in &due {
            self.tell(name, reading, now);
            let Some(kept) = self.builder.tenant(name) else { continue };
            let found = &kept.tenant().found;
            self.unsaid.extend(found.keys().cloned());
            self.unsaid.extend(self.ledger.of(name).filter(|key| !found.contains_key(*key)).cloned());
            let sources = found.keys().filter_map(|key| Some((key, self.builder.source(key)?)));
            self.stamps.note(name, sources, self.published.generation);
        }
        if self.seen.is_empty() {
            let gone = self.ledger.tenants().filter(|name| !reading.tenants.contains_key(*name));
            self.unsaid.extend(gone.flat_map(|name| self.ledger.of(name)).cloned());
        }
        for (name, tenant) in &reading.tenants {
            let before = self.seen.get(name);
            if before.is_some_and(|before| Arc::ptr_eq(before, tenant)) {
                continue;
            }
            let held = |key: &ObjectKey| before.is_some_and(|before| before.unheld.contains_key(key));
            self.unsaid.extend(tenant.unheld.keys().filter(|key| !held(key)).cloned());
        }
        self.seen = reading.tenants.clone();
        let leaving = reading.tenants.values().flat_map(|tenant| &tenant.leaving);
        let leaving = leaving.map(|(key, uid)| (key.clone(), uid.clone())).collect();
        self.departures.note(&leaving, self.published.generation);
        self.tell_problems(None, reading.problems.iter().cloned().collect());
        if !due.is_empty() {
            self.count();
        }
        for (account, effect) in effects {
            match effect {
                Effect::CodeIssued => self.teller.code_issued(account),
                Effect::EpochRaised => self.teller.sessions_void(account),
                Effect::Made | Effect::StandingRegained | Effect::CodeWithdrawn | Effect::PasswordSet => {}
            }
        }
    }

    /// Whether an object's deletion has to be made to wait.
    pub(super) fn hold(&self, key: &ObjectKey) {
        if let Some(uid) = self.seen.get(key.tenant()).and_then(|tenant| tenant.unheld.get(key)) {
            self.state.hold(key, uid);
        }
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

    /// Takes note of the outstanding activation codes of what was done.
    fn note_codes(&mut self) {
        for name in self.builder.due() {
            let Some(code) = department_of(name) else { continue };
            let people = self.builder.tenant(name).into_iter().flat_map(|kept| kept.people().of(&code));
            let codes = people.filter_map(|(name, person)| {
                let uid = &person.account.source.uid;
                let issue = self.builder.vault.record(uid)?.activation()?.issue;
                Some((name.clone(), (uid.clone(), issue)))
            });
            self.slips.want(&code, codes.collect());
        }
    }

    /// Lays out some activation codes.
    fn lay_out_codes(&mut self) -> LaidOut {
        if !self.slips.is_waiting() {
            return LaidOut::All;
        }
        let step = self.slips.work(&self.state);
        if let Some(error) = &step.failure {
            let _told = self.state_failed(error);
        }
        match step.more {
            true => LaidOut::Some,
            false if self.slips.is_waiting() => LaidOut::Failed,
            false => LaidOut::All,
        }
    }

    fn count(&self) {
        let mut counts: BTreeMap<ObjectKind, (i64, i64)> = BTreeMap::new();
        let mut compile_problems = 0;
        for (_, kept) in self.builder.tenants() {
            compile_problems += kept.compile_problems();
            for (kind, (accepted, refused)) in kept.counts() {
                let count = counts.entry(*kind).or_default();
                *count = (count.0 + accepted, count.1 + refused);
            }
        }
        for kind in ObjectKind::ALL {
            let (accepted, refused) = counts.get(&kind).copied().unwrap_or_default();
            let gauge = |accepted| self.metrics.objects.with_label_values(&[kind.as_str(), accepted]);
            gauge("true").set(accepted);
            gauge("false").set(refused);
        }
        self.metrics.compile_problems.set(i64::try_from(compile_problems).unwrap_or(i64::MAX));
    }

    /// Says what became different of a tenant since the last round, to the terminal and to the audit.
    fn tell(&mut self, name: &TenantName, reading: &Reading, now: Timestamp) {
        let Some(kept) = self.builder.tenant(name) else { return };
        let mut problems = BTreeSet::new();
        let mut accepted = Vec::new();
        for key in kept.tenant().found.keys() {
            let refusal = kept.refused(key);
            let violations = kept.violations(key);
            problems.extend(violations.iter().map(|violation| {
                let text = violation.to_string();
                let message = text.split_once(' ').map_or(text.as_str(), |(_, message)| message);
                problem(violation.code, key, reading.place(key, &violation.path), message)
            }));
            if let Some(refusal) = refusal.filter(|_| violations.is_empty()) {
                problems.insert(problem(
                    refusal.code,
                    key,
                    reading.place(key, &refusal.path),
                    &refusal.message,
                ));
            }
            let Some(source) = self.builder.source(key) else { continue };
            let refused = refusal.map(ToString::to_string);
            if self.ledger.knows(key, &source, refused.as_deref()) {
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
                        namespace: (*key.namespace).into(),
                        name: (*key.name).into(),
                        generation: source.generation,
                        origin: reading.place(key, "").into(),
                    },
                    refused: refusal.map(|refusal| (refusal.code, refusal.message.as_str().into())),
                },
            });
        }
        let found = &kept.tenant().found;
        let gone = self.seen.get(name).into_iter().flat_map(|before| before.found.keys());
        let gone: Vec<Object> = gone.filter(|key| !found.contains_key(*key)).map(Object::from).collect();
        self.tell_problems(Some(Arc::clone(name)), problems);
        accepted.into_iter().for_each(|event| self.teller.tell(event));
        gone.into_iter().for_each(|object| self.teller.tell(ControllerEvent::Removed { object }));
    }

    /// Tells the problems that were not told before.
    fn tell_problems(&mut self, of: Option<TenantName>, problems: BTreeSet<Problem>) {
        let told =
            if problems.is_empty() { self.told.remove(&of) } else { self.told.insert(of.clone(), problems) };
        let told = told.unwrap_or_default();
        for problem in self.told.get(&of).into_iter().flatten().filter(|problem| !told.contains(*problem)) {
            self.teller.tell(ControllerEvent::Refused(problem.clone()));
        }
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
        self.metrics.write_failed(to);
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

/// What became of the activation codes.
enum LaidOut {
    /// All are laid out.
    All,
    /// The others follow in the next steps.
    Some,
    /// Some could not be.
    Failed,
}

/// A round that did not come to its end; why has been told.
#[must_use = "somebody has to try again"]
pub(super) struct Unfinished;
