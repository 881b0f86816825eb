//! A look at what gateways reported, and what is said about objects because of it.

use tidegate_core::Timestamp;
use tidegate_store::{Report, Store};
use tokio::time::Instant;

use super::round::Controller;
use super::{FIRST_GATEWAY_POLL, LOOK, PROPAGATION_POLL, REPORTS_POLL, RETRY};
use crate::fleet::Fleet;
use crate::form::department_of;
use crate::objects::{ObjectKey, ObjectKind, PLATFORM};
use crate::propagation::{Affected, Outlook, judge};
use crate::state::StateError;
use crate::status::{ConditionType, Ledger, Truth};

/// Objects spoken of in one look; what else there is to say follows at once.
const AT_ONCE_MAX: usize = 512;

impl<S: Store> Controller<S> {
    /// Says of every object that may be concerned whether it is in force everywhere. Returns when to look
    /// again.
    pub(super) async fn look(&mut self) -> Instant {
        self.look_at = None;
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
        self.find_unsaid(&reports, now);
        let said = self.say(&reports, now).and_then(|()| self.lay_out_problems());
        let failed = said.is_err();
        if let Err(error) = said {
            let _told = self.state_failed(&error);
        }
        self.metrics.count_conditions(self.ledger.counts());
        for (key, uid) in self.departures.in_force(&reports) {
            self.state.let_go(&key, &uid);
        }
        if let Err(error) = self.state.mend() {
            let _told = self.state_failed(&error);
        }
        Instant::now() + if failed { RETRY } else { self.pause() }
    }

    /// How long until the next look.
    fn pause(&self) -> std::time::Duration {
        if !self.unsaid.is_empty() {
            return if self.state.room() > 0 { LOOK } else { PROPAGATION_POLL };
        }
        if self.waiting.is_empty() && !self.departures.any_waits() {
            return REPORTS_POLL;
        }
        match () {
            () if self.outlook.is_empty() => FIRST_GATEWAY_POLL,
            () if self.outlook.is_awaited(self.published.generation) => PROPAGATION_POLL,
            () => REPORTS_POLL,
        }
    }

    /// Finds the objects whose conditions may be others than was said.
    fn find_unsaid(&mut self, reports: &[Report], now: Timestamp) {
        let outlook = Outlook::of(reports, now);
        match outlook.affects(&self.outlook) {
            Affected::None => {}
            Affected::Waiting => self.unsaid.extend(self.waiting.iter().cloned()),
            Affected::All => {
                let tenants = self.builder.tenants().map(|(_, kept)| kept.tenant());
                self.unsaid.extend(tenants.flat_map(|tenant| tenant.found.keys()).cloned());
            }
        }
        self.outlook = outlook;
        let fleet = self.fleet.as_ref().map(|fleet| *fleet.borrow());
        if self.fleet_said != fleet {
            let platform = self.builder.tenant(&PLATFORM).into_iter();
            let keys = platform.flat_map(|kept| kept.tenant().found.keys());
            self.unsaid.extend(keys.filter(|key| key.kind == ObjectKind::VpnGateway).cloned());
            self.fleet_said = fleet;
        }
    }

    /// Says what is to be said of some objects.
    fn say(&mut self, reports: &[Report], now: Timestamp) -> Result<(), StateError> {
        let room = self.state.room().min(AT_ONCE_MAX);
        for _ in 0..room {
            let Some(key) = self.unsaid.pop_first() else { break };
            let outcome = self.say_one(&key, reports, now);
            if outcome.is_err() {
                self.unsaid.insert(key);
                return outcome;
            }
        }
        Ok(())
    }

    fn say_one(&mut self, key: &ObjectKey, reports: &[Report], now: Timestamp) -> Result<(), StateError> {
        let there =
            self.builder.tenant(key.tenant()).is_some_and(|kept| kept.tenant().found.contains_key(key));
        let Some(mut status) = self.builder.status(key, now).filter(|_| there) else {
            self.waiting.remove(key);
            return self.ledger.unsay(&self.state, key);
        };
        if key.kind == ObjectKind::VpnGateway {
            status.says_no = self.fleet_said.and_then(Fleet::says_no);
        }
        let accepted = status.is(ConditionType::Accepted);
        let (truth, reason, message) = if accepted {
            let wanted = self.stamps.of(key, &status.source);
            judge(reports, wanted, department_of(&key.namespace).as_ref(), now)
        } else {
            (Truth::False, "NotAccepted", "only what is accepted is published".to_owned())
        };
        status.set(ConditionType::Propagated, truth, reason, message);
        status.sum_up();
        if accepted && truth != Truth::True {
            self.waiting.insert(key.clone());
        } else {
            self.waiting.remove(key);
        }
        self.hold(key);
        self.ledger.say(&self.state, &status, now).map(drop)
    }

    /// What was said, for the next controller. What is not on its object yet never comes there from us.
    pub(super) fn handed_on(mut self) -> Ledger {
        for key in self.state.unspoken() {
            self.ledger.doubt(&key);
        }
        self.ledger
    }

    fn lay_out_problems(&mut self) -> Result<(), StateError> {
        let problems = self.told.values().flatten().cloned().collect();
        self.ledger.update_problems(&self.state, problems)
    }
}
