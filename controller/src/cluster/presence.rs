//! Which gateways count, from what they said and which pods there are: pure.
//!
//! A gateway that said something counts until it signed off, its pod is gone, or it has been cut off for so long
//! that it has ended its sessions by itself. One whose lease is gone for [`SILENT_S`] while a sibling is heard is
//! cut off from etcd: its pod is replaced. Pods are replaced one after the other: the next only when the one before is
//! gone, or is still going after [`NEXT_S`], so that no fault of ours takes a whole pool away.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::Timestamp;
use tidegate_store::{Ack, GatewayId, Report};

use super::call::CallError;

/// Seconds without a lease after which a gateway's pod is deleted.
const SILENT_S: i64 = 30;
/// Seconds after which the next pod is deleted although the one before is still on its way out; on a node that is lost
/// it stays so for ever.
const NEXT_S: i64 = 120;
/// Clocks of nodes may differ by so many seconds.
const SKEW_S: i64 = 30;

/// A pod of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Whether it is on its way out already.
    pub ending: bool,
}

/// The pods of a pool by UID.
pub type Pods = BTreeMap<String, Pod>;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Gateways that count no longer, by their last word.
    pub gone: Vec<Ack>,
    /// The pod to delete, by UID and name.
    pub cut_off: Option<(String, String)>,
}

/// Remembers since when a gateway's lease is gone, and which pod was deleted last.
#[derive(Debug, Default)]
pub struct Presence {
    silent_since: BTreeMap<GatewayId, Timestamp>,
    /// By UID, and when.
    deleted: Option<(String, Timestamp)>,
}

impl Presence {
    /// Judges what gateways said (`reports`), whose leases are gone (`silent`), and the pods listed after both.
    pub fn judge(
        &mut self,
        reports: &[Report],
        silent: &BTreeSet<GatewayId>,
        pods: &Pods,
        end_sessions_s: u32,
        now: Timestamp,
    ) -> Verdict {
        self.silent_since.retain(|gateway, _| silent.contains(gateway));
        for gateway in silent {
            self.silent_since.entry(gateway.clone()).or_insert(now);
        }
        self.deleted.take_if(|(uid, at)| !pods.contains_key(uid) || now.since(*at) >= NEXT_S);
        let heard = reports.iter().any(|report| !silent.contains(&report.ack.gateway));
        let mut verdict = Verdict::default();
        for report in reports {
            let gateway = &report.ack.gateway;
            let pod = pods.get(&gateway.0);
            let since = self.silent_since.get(gateway);
            let over = since.is_some()
                && now.since(report.ack.at) > i64::from(end_sessions_s).saturating_add(SKEW_S);
            if over || (pod.is_none() && is_pod(gateway)) {
                verdict.gone.push(report.ack.clone());
            } else if let Some(pod) = pod.filter(|pod| !pod.ending)
                && heard
                && self.deleted.is_none()
                && since.is_some_and(|since| now.since(*since) >= SILENT_S)
            {
                self.deleted = Some((gateway.0.clone(), now));
                verdict.cut_off = Some((gateway.0.clone(), pod.name.clone()));
            }
        }
        verdict
    }

    /// The deletion failed. A pod that the API server refused to delete is there still; without an answer it may be on
    /// its way out all the same, and the next one waits for it.
    pub fn failed(&mut self, error: &CallError) {
        if matches!(error, CallError::Refused { code, .. } if *code < 500) {
            self.deleted = None;
        }
    }
}

/// Whether a gateway is named as pods are: by a UID. Others were given a name by hand and have no pod.
fn is_pod(gateway: &GatewayId) -> bool {
    let parts: Vec<&str> = gateway.0.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use tidegate_core::Generation;

    use super::*;

    const A: &str = "0b1c7a52-9f3e-4d0e-8f55-6d2f0f7f9a11";
    const B: &str = "0b1c7a52-9f3e-4d0e-8f55-6d2f0f7f9a12";
    const C: &str = "0b1c7a52-9f3e-4d0e-8f55-6d2f0f7f9a13";
    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn report(name: &str) -> Report {
        let ack = Ack {
            gateway: GatewayId(name.into()),
            generation: Generation { term: 1, sequence: 1 },
            broken: BTreeMap::new(),
            evaluators: Vec::new(),
            kids: vec![1],
            at: NOW,
        };
        Report { ack, sessions: Vec::new() }
    }

    fn refused(code: u16) -> CallError {
        CallError::Refused { code, reason: String::new(), message: String::new() }
    }

    fn pods(uids: &[&str]) -> Pods {
        let pod = |uid: &&str| ((*uid).to_owned(), Pod { name: format!("pod-{uid}"), ending: false });
        uids.iter().map(pod).collect()
    }

    fn silent(names: &[&str]) -> BTreeSet<GatewayId> {
        names.iter().map(|&name| GatewayId(name.into())).collect()
    }

    #[test]
    fn a_gateway_goes_with_its_pod() {
        let verdict = Presence::default().judge(
            &[report(A), report(B), report("by-hand")],
            &silent(&[]),
            &pods(&[A]),
            3_600,
            NOW,
        );
        assert_eq!(verdict.gone, [report(B).ack]);
    }

    #[test]
    fn a_cut_off_pod_is_replaced_when_a_sibling_is_heard() {
        let mut presence = Presence::default();
        let (reports, pods) = ([report(A), report(B)], pods(&[A, B]));
        let mut judge =
            |names: &[&str], after| presence.judge(&reports, &silent(names), &pods, 3_600, NOW.plus(after));
        assert_eq!(judge(&[A], 0), Verdict::default());
        assert_eq!(judge(&[A], 29), Verdict::default());
        assert_eq!(judge(&[A], 30).cut_off, Some((A.to_owned(), format!("pod-{A}"))));
        assert_eq!(judge(&[A, B], 31), Verdict::default(), "nobody is heard: etcd's fault, or ours");
        assert_eq!(judge(&[B], 32), Verdict::default(), "it came back and another went");
    }

    #[test]
    fn pods_are_replaced_one_after_the_other_and_never_the_last_that_is_heard() {
        let mut presence = Presence::default();
        let reports = [report(A), report(B), report(C)];
        let mut judge = |names: &[&str], uids: &[&str], after| {
            presence.judge(&reports, &silent(names), &pods(uids), 3_600, NOW.plus(after)).cut_off
        };
        let pod = |uid: &str| Some((uid.to_owned(), format!("pod-{uid}")));
        assert_eq!(judge(&[A, B], &[A, B, C], 0), None);
        assert_eq!(judge(&[A, B], &[A, B, C], 30), pod(A));
        assert_eq!(judge(&[A, B], &[A, B, C], 60), None, "the first is still going");
        assert_eq!(judge(&[A, B], &[B, C], 62), pod(B), "it is gone");
        assert_eq!(judge(&[A, B, C], &[B, C], 300), None, "nobody is heard");
        assert_eq!(judge(&[A, B], &[B, C], 302), pod(B), "its deletion led to nothing");
        presence.failed(&refused(403));
        let again = presence.judge(&reports, &silent(&[A, B]), &pods(&[B, C]), 3_600, NOW.plus(304));
        assert_eq!(again.cut_off, pod(B), "what failed is tried again at once");
    }

    #[test]
    fn a_deletion_without_an_answer_may_have_happened() {
        for error in [CallError::Unanswered("timeout".into()), refused(504)] {
            let mut presence = Presence::default();
            let (reports, mut pods) = ([report(A), report(B), report(C)], pods(&[A, B, C]));
            let judge = |presence: &mut Presence, pods: &Pods, after| {
                presence.judge(&reports, &silent(&[A, B]), pods, 3_600, NOW.plus(after)).cut_off
            };
            judge(&mut presence, &pods, 0);
            assert_eq!(judge(&mut presence, &pods, 30).expect("one").0, A);
            presence.failed(&error);
            pods.get_mut(A).expect("a pod").ending = true;
            assert_eq!(judge(&mut presence, &pods, 32), None, "{error}");
            assert_eq!(judge(&mut presence, &pods, 150).expect("in the end").0, B);
        }
    }

    #[test]
    fn a_named_gateway_goes_when_its_sessions_have_ended() {
        let mut presence = Presence::default();
        let mut judge = |after| {
            presence.judge(&[report("by-hand")], &silent(&["by-hand"]), &Pods::new(), 60, NOW.plus(after))
        };
        assert!(judge(80).gone.is_empty());
        assert_eq!(judge(91).gone.len(), 1);
    }
}
