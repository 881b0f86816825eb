//! What every backend must do: the test of the trait [`Store`].
//!
//! A backend implements [`Backend`] and calls [`store_conformance!`](crate::store_conformance) in its test
//! binary; each case below becomes one test on a fresh store. A case fails by panicking, as tests do.

pub mod sample;

mod live;
mod publish;

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::{Store, StoreResult, View};

pub use live::{
    claim_has_one_winner, ended_is_seen_and_expires, failures_are_counted, intents_in_order,
    keys_are_bounded, newest_login_wins, reports_are_kept,
};
pub use publish::{
    deposed_term_is_fenced, equal_bytes_change_nothing, freshness_is_proved, publications_are_atomic,
    refused_publication_changes_nothing, removed_department_is_gone, seen_before_and_after, starts_empty,
    survives_reopening, unchanged_is_shared,
};

/// A place where a store lives, fresh for each case.
pub trait Backend: Send + Sync {
    /// The store it makes.
    type Store: Store;

    /// Opens the store of this place under a term.
    fn open(&self, term: u64) -> impl Future<Output = StoreResult<Self::Store>> + Send;

    /// Closes it, so that it can be opened again.
    fn close(&self, store: Self::Store) -> impl Future<Output = ()> + Send;
}

/// Nothing a case waits for takes this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a view is as wanted.
async fn until(views: &mut watch::Receiver<View>, wanted: impl FnMut(&View) -> bool) -> View {
    match tokio::time::timeout(DEADLINE, views.wait_for(wanted)).await {
        Ok(Ok(view)) => view.clone(),
        Ok(Err(_)) => panic!("the store went away"),
        Err(_) => panic!("the view never became what was waited for"),
    }
}

/// One test per case for the backends `$backend` makes.
#[macro_export]
macro_rules! store_conformance {
    ($backend:expr) => {
        $crate::store_conformance!(@each $backend;
            starts_empty, seen_before_and_after, publications_are_atomic, equal_bytes_change_nothing,
            unchanged_is_shared, removed_department_is_gone, refused_publication_changes_nothing,
            freshness_is_proved, deposed_term_is_fenced, survives_reopening, newest_login_wins,
            ended_is_seen_and_expires, claim_has_one_winner, intents_in_order, failures_are_counted,
            reports_are_kept, keys_are_bounded);
    };
    (@each $backend:expr; $($case:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::conformance::$case(&$backend).await;
        }
    )*};
}
