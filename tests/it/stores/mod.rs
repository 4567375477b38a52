//! Stores. What every store must do is in `conformance`; a store's own file holds its configuration and what only it has.

use std::sync::Arc;

use dbsnap::stores::{Store, registry};

mod conformance;
mod hung;
mod local;
mod pattern;

/// A fresh, empty store, and what must live as long as it.
pub struct Opened {
    pub store: Arc<dyn Store>,
    _keep: Box<dyn Send + Sync>,
}

/// How to get a store of one kind to test.
pub struct Configuration {
    pub kind: &'static str,
    pub open: fn() -> Opened,
}

/// One line per kind of store.
pub fn configurations() -> Vec<Configuration> {
    vec![Configuration { kind: "local", open: local::open }]
}

#[test]
fn every_kind_of_store_is_tested() {
    let tested: Vec<_> = configurations().iter().map(|configuration| configuration.kind).collect();
    let known: Vec<_> = registry().iter().map(|kind| kind.info().id).collect();
    assert_eq!(tested, known);
}
