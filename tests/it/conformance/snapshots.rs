//! Backups with snapshots, through the product's own services: made, proven, looked at, restored from.

use std::sync::Arc;

use dbsnap::{
    domain::{
        artifact::ArtifactKind,
        backup::{BackupOptions, BackupType, SnapshotOptions},
        browse::RowQuery,
        database::Settings,
        fields::validate,
        ids::{BackupId, StoreId},
        restore::RestorePlan,
        secret::Secret,
        time::Moment,
    },
    engines::Engine,
    error::Result,
    pipeline::{Kdf, KeyRing, MasterKey},
    services::{
        backup::produce::{Plan, Produced, produce},
        manifests::Seal,
        restore::{rows as snapshot_restore, source::Stored},
        snapshots::{self, browse},
        verify::{self, deep::Deep},
    },
    snapshot::Snapshot,
    stores::{self, Store},
};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::{
    home::{CUSTOMERS, Home},
    homes,
    operations::Bench,
};

const BOTH: [ArtifactKind; 2] = [ArtifactKind::Dump, ArtifactKind::Snapshot];

/// A folder that backups go into, and a key.
struct Place {
    folder: TempDir,
    store: Arc<dyn Store>,
    keys: KeyRing,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = Map::from_iter([("path".to_owned(), Value::from(folder.path().join("store").to_str().unwrap()))]);
        let passphrase = Secret::new("a test passphrase of more than 32 characters");
        let key = MasterKey::derive(&passphrase, Kdf { iterations: 100_000, salt: [3; 16] });
        Self { folder, store: stores::find("local").unwrap().open(&settings).unwrap(), keys: KeyRing::new(passphrase, key) }
    }

    async fn back_up(&self, home: &dyn Home, database: &str, artifacts: &[ArtifactKind], encrypt: bool, bench: &Bench) -> Result<Produced> {
        self.back_up_with(home, database, artifacts, encrypt, SnapshotOptions::default(), bench).await
    }

    async fn back_up_with(
        &self,
        home: &dyn Home,
        database: &str,
        artifacts: &[ArtifactKind],
        encrypt: bool,
        snapshot: SnapshotOptions,
        bench: &Bench,
    ) -> Result<Produced> {
        let engine = validate(home.engine().info().dump_options, &Map::new()).unwrap();
        let options = BackupOptions { artifacts: artifacts.to_vec(), encrypt, snapshot, engine, ..BackupOptions::default() };
        let settings = home.settings(database);
        let plan = Plan {
            schedule_id: None,
            id: BackupId::new(),
            database: "suite",
            kind: BackupType::Manual,
            engine: home.engine(),
            settings: &settings,
            options: &options,
            started_at: Moment::now(),
            instance_id: "test",
            store_id: StoreId::LOCAL,
            folder: None,
        };
        produce(&plan, self.store.as_ref(), Some(&self.keys), &bench.run).await
    }

    async fn snapshot(&self, produced: &Produced) -> Arc<Snapshot> {
        let artifact = produced.artifacts.iter().find(|artifact| artifact.kind == ArtifactKind::Snapshot).unwrap();
        Arc::new(snapshots::open_stored(self.store.clone(), artifact, Some(&self.keys)).await.unwrap())
    }

    /// Names of the files in the store.
    fn files(&self) -> Vec<String> {
        let entries =
            std::fs::read_dir(self.folder.path().join("store")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = entries.filter(|name| name != ".incoming").collect();
        files.sort();
        files
    }
}

/// Settings of a restore's target, as the services make them from a plan.
fn target(home: &dyn Home, database: &str, copy: &str) -> (Settings, RestorePlan) {
    let engine: &dyn Engine = home.engine();
    let options = validate(engine.info().restore_options, &Map::new()).unwrap();
    let plan = RestorePlan { target_name: Some(home.target(copy)), engine: options, ..RestorePlan::default() };
    (dbsnap::services::restore::target_settings(engine, home.settings(database), &plan), plan)
}

#[tokio::test]
async fn a_backup_has_dump_and_snapshot_of_one_moment_and_both_verify() {
    for home in homes().await {
        let home = home.as_ref();
        let place = Place::new();
        let database = home.make("both").await;
        for (artifacts, encrypt) in [(&BOTH[..], true), (&BOTH[..], false), (&BOTH[1..], true)] {
            let bench = Bench::new(home);
            let produced = place
                .back_up(home, &database, artifacts, encrypt, &bench)
                .await
                .unwrap_or_else(|error| panic!("{}: {error:?}", home.label()));
            let kinds: Vec<_> = produced.manifest.artifacts.iter().map(|artifact| artifact.kind).collect();
            assert!(artifacts.iter().all(|kind| kinds.contains(kind)), "{}: {kinds:?}", home.label());
            let counted: u64 = produced.manifest.tables.iter().map(|table| table.rows).sum();
            assert_eq!(counted, CUSTOMERS, "{}", home.label());
            let findings =
                verify::verify(&produced.manifest, Seal::Intact, &produced.artifacts, place.store.clone(), Some(&place.keys), &bench.run);
            let findings = findings.await.unwrap();
            assert!(findings.problems.is_empty(), "{}: {:?}", home.label(), findings.problems);
            let snapshot = place.snapshot(&produced).await;
            assert_eq!(snapshot.hash_key_id().is_some(), encrypt, "{}", home.label());
            assert_eq!(snapshot.facts().moment, produced.manifest.moment, "{}", home.label());
            let tables = browse::table_list(&snapshot);
            let rows: Vec<_> = tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
            assert_eq!(rows, [("customers", CUSTOMERS), ("unsold", 0)], "{}", home.label());
        }
    }
}

#[tokio::test]
async fn rows_are_found_by_page_by_key_and_by_text() {
    for home in homes().await {
        let home = home.as_ref();
        let place = Place::new();
        let database = home.make("found").await;
        let produced = place.back_up(home, &database, &BOTH[1..], true, &Bench::new(home)).await.unwrap();
        let snapshot = place.snapshot(&produced).await;
        let label = home.label();
        snapshots::blocking("looking", move || {
            let table = snapshot.tables().iter().find(|table| table.name.name == "customers").unwrap().name.to_string();
            let page = |number| browse::page_of(&snapshot, &table, &RowQuery { page: number, limit: 100, ..RowQuery::default() }).unwrap();
            let (first, last) = (page(1), page(90));
            assert_eq!((first.rows.len(), last.rows.len(), page(91).rows.len()), (100, 100, 0), "{label}");
            assert_eq!((first.total, first.pages()), (Some(CUSTOMERS), 90), "{label}");
            let row = &last.rows[42];
            let found = browse::page_of(&snapshot, &table, &RowQuery { key: Some(row.key.clone()), ..RowQuery::default() }).unwrap();
            assert_eq!(found.rows, std::slice::from_ref(row), "{label}");
            let text =
                row.cells.iter().find_map(|cell| cell.text.as_deref().filter(|text| text.len() > 8)).unwrap_or(&row.key).to_uppercase();
            let mut query = RowQuery { q: Some(text), ..RowQuery::default() };
            let mut hits = Vec::new();
            loop {
                let page = browse::page_of(&snapshot, &table, &query).unwrap();
                hits.extend(page.rows);
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            assert!(hits.contains(row), "{label}: a search that goes on to its end finds the row");
            assert!(browse::page_of(&snapshot, "no such table", &RowQuery::default()).is_err(), "{label}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_alone_restores_to_the_same_rows() {
    for home in homes().await {
        let home = home.as_ref();
        let place = Place::new();
        let database = home.make("alone").await;
        let bench = Bench::new(home);
        let produced = place.back_up(home, &database, &BOTH[1..], true, &bench).await.unwrap();
        let snapshot = place.snapshot(&produced).await;
        let copy = format!("{database}_rows");
        let (settings, plan) = target(home, &database, &copy);
        let outcome = snapshot_restore::restore(home.engine(), &settings, &plan, snapshot.clone(), &bench.run).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error:?}", home.label()));
        assert_eq!(outcome.tables.iter().map(|table| table.rows).sum::<u64>(), CUSTOMERS, "{}", home.label());
        assert_eq!(home.contents(&copy).await, home.contents(&database).await, "{}", home.label());
        let again = snapshot_restore::restore(home.engine(), &settings, &plan, snapshot, &bench.run).await.unwrap_err();
        assert_eq!(again.kind, dbsnap::error::Kind::Conflict, "{}: a new database never replaces one: {again}", home.label());
    }
}

#[tokio::test]
async fn a_sample_is_marked_and_never_restored() {
    for home in homes().await {
        let home = home.as_ref();
        let place = Place::new();
        let database = home.make("sampled").await;
        let bench = Bench::new(home);
        let sample = SnapshotOptions { sample: [("*customers".to_owned(), 0.1)].into() };
        let produced = place.back_up_with(home, &database, &BOTH[1..], false, sample, &bench).await.unwrap();
        assert!(
            produced.manifest.partial && produced.manifest.warnings.iter().any(|warning| warning.contains("a sample of")),
            "{}",
            home.label()
        );
        let snapshot = place.snapshot(&produced).await;
        let kept = browse::table_list(&snapshot).into_iter().find(|table| table.name == "customers").unwrap();
        assert!(kept.sampled == Some(0.1) && (300..2000).contains(&kept.rows), "{}: {}", home.label(), kept.rows);
        let (settings, plan) = target(home, &database, &format!("{database}_rows"));
        let error = snapshot_restore::restore(home.engine(), &settings, &plan, snapshot, &bench.run).await.unwrap_err();
        assert!(error.to_string().contains("only a sample of the rows"), "{}: {error}", home.label());
    }
}

#[tokio::test]
async fn a_deep_verification_finds_no_difference_and_leaves_nothing_behind() {
    for home in homes().await {
        let home = home.as_ref();
        let place = Place::new();
        let database = home.make("deep").await;
        let bench = Bench::new(home);
        let produced = place.back_up(home, &database, &BOTH, true, &bench).await.unwrap();
        let settings = home.settings(&database);
        let source = Stored { store: place.store.clone(), artifacts: produced.artifacts.clone(), keys: Some(place.keys.clone()) };
        let deep = Deep {
            backup: produced.manifest.backup_id,
            engine: home.engine(),
            settings: &settings,
            source: &source,
            expected: &produced.manifest.tables,
            snapshot: place.snapshot(&produced).await,
        };
        let compared = deep.verify(&bench.run).await.unwrap_or_else(|error| panic!("{}: {error:?}", home.label()));
        assert_eq!((compared.tables, compared.rows), (2, CUSTOMERS), "{}", home.label());
        assert!(compared.problems.is_empty(), "{}: {:?}", home.label(), compared.problems);
        assert!(home.names("dbsnap_verify_").await.is_empty(), "{}: the scratch database is gone", home.label());
    }
}

#[tokio::test]
async fn a_cancel_in_the_middle_of_the_snapshot_leaves_nothing_in_the_store() {
    for home in homes().await {
        let home = home.as_ref();
        let place = Place::new();
        let database = home.make("stopped").await;
        home.make_heavy(&database, 8).await;
        for artifacts in [&BOTH[..], &BOTH[1..]] {
            let bench = Bench::new(home);
            let cancel = bench.run.cancel.clone();
            let bench = bench.at_stage("writing the snapshot", move || cancel.cancel());
            let error = place.back_up(home, &database, artifacts, true, &bench).await.err().expect("a cancelled backup");
            assert!(error.is_cancelled(), "{}: {error}", home.label());
            assert_eq!(place.files(), [""; 0], "{}", home.label());
        }
    }
}
