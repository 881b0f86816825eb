//! The etcd backend does what every backend must do.

use tidegate_store::conformance::{self, Backend};
use tidegate_store::{Etcd, StoreResult};

use super::members::Members;

struct Place(Members);

impl Backend for Place {
    type Store = Etcd;

    async fn open(&self, term: u64) -> StoreResult<Etcd> {
        super::controller(&self.0, term).await
    }

    async fn close(&self, store: Etcd) {
        store.close().await;
    }
}

macro_rules! cases {
    ($($case:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let members = super::start_or_skip!(1);
            conformance::$case(&Place(members)).await;
        }
    )*};
}

cases!(
    starts_empty,
    seen_before_and_after,
    publications_are_atomic,
    equal_bytes_change_nothing,
    unchanged_is_shared,
    removed_department_is_gone,
    refused_publication_changes_nothing,
    freshness_is_proved,
    deposed_term_is_fenced,
    survives_reopening,
    newest_login_wins,
    ended_is_seen_and_expires,
    claim_has_one_winner,
    intents_in_order,
    failures_are_counted,
    reports_are_kept,
    keys_are_bounded
);
