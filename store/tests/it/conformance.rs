//! The embedded backend does what every backend must do.

use tempfile::TempDir;
use tidegate_store::conformance::Backend;
use tidegate_store::{Embedded, StoreResult, store_conformance};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
}

impl Backend for Folder {
    type Store = Embedded;

    async fn open(&self, term: u64) -> StoreResult<Embedded> {
        Embedded::open(&self.0.path().join("store.redb"), term)
    }

    async fn close(&self, store: Embedded) {
        store.close().await;
    }
}

store_conformance!(Folder::new());
