//! What is damage and what is a store that is away, and what becomes of backups that are damaged in one store only.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use dbsnap::{
    domain::{
        artifact::ArtifactKind,
        backup::VerifyState,
        copy::CopyStatus,
        ids::{BackupId, ScheduleId, StoreId},
        job::{Job, JobStatus},
        permissions::Actor,
    },
    services::{self, manifests, retention::PolicyInput, verify},
    stores,
};
use serde_json::json;

use super::bench::{Bench, daily, names};
use crate::support::{
    doubles::{Misread, Reading},
    observer::silent,
};

impl Bench {
    async fn verify(&self, id: BackupId) -> Job {
        let job = services::backup::verify(self.ctx(), &Actor::system(), id, Default::default()).await.unwrap();
        let job = self.over(&job).await;
        self.settled().await;
        job
    }

    async fn state(&self, id: BackupId) -> VerifyState {
        self.get(id).await.verify_state
    }

    /// One byte in the middle of the backup's dump is another one in that store; its size is the same.
    async fn rot(&self, store: &str, id: BackupId) {
        let file = self.dump(store, id).await;
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }

    async fn dump(&self, store: &str, id: BackupId) -> PathBuf {
        self.folder.path().join(store).join(&self.get(id).await.artifact(ArtifactKind::Dump).unwrap().key)
    }

    /// Where else it is.
    async fn copies(&self, id: BackupId) -> Vec<(String, CopyStatus)> {
        let copies = services::copies::list(self.ctx(), &Actor::system(), id).await.unwrap();
        copies.into_iter().map(|copy| (copy.store_name, copy.status)).collect()
    }

    /// A good backup in both stores, of a schedule that keeps only the newest.
    async fn copied_on(&self, day: i64, schedule: ScheduleId) -> BackupId {
        let id = self.back_up(day).await;
        self.made_by(schedule, id).await;
        id
    }

    async fn two_stores(&self) -> ScheduleId {
        let archive = self.further_store("archive").await;
        let input = PolicyInput { name: "short".into(), policy: daily(1) };
        let short = services::retention::create(self.ctx(), &Actor::system(), input).await.unwrap().policy.id;
        self.schedule(&json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive }]), Some(short.to_string()))
    }
}

fn open(folder: &Path) -> std::sync::Arc<dyn stores::Store> {
    stores::find("local").unwrap().open(json!({ "path": folder }).as_object().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_disk_is_no_damage_of_the_backup() {
    let bench = Bench::new().await;
    let id = bench.back_up(0).await;
    let backup = bench.get(id).await;
    let inner = open(&bench.folder.path().join("backups"));
    let key = backup.manifest_key.as_deref().unwrap();
    let (manifest, seal) = manifests::fetch(inner.as_ref(), key, Some(&bench.ctx().keys)).await.unwrap();
    let verify = async |store| verify::verify(&manifest, seal, &backup.artifacts, store, Some(&bench.ctx().keys), &silent()).await;
    let broken = std::sync::Arc::new(Misread { inner: inner.clone(), reading: Reading::Broken(".enc") });
    let error = verify(broken).await.unwrap_err();
    assert!(error.retryable && error.to_string().contains("Input/output error"), "{error}");
    assert!(verify(inner.clone()).await.unwrap().problems.is_empty());
    bench.rot("backups", id).await;
    let findings = verify(inner).await.unwrap();
    assert!(findings.problems[0].contains("damaged"), "{:?}", findings.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_while_the_volume_is_away_calls_nothing_corrupt() {
    let bench = Bench::new().await;
    let (old, new) = (bench.back_up(0).await, bench.back_up(1).await);
    bench.rename("backups", "unmounted");
    // Nothing there; another, empty folder; something else in its place.
    for way in 0..3 {
        match way {
            0 => {}
            1 => std::fs::create_dir_all(bench.folder.path().join("backups")).unwrap(),
            _ => {
                std::fs::remove_dir_all(bench.folder.path().join("backups")).unwrap();
                std::fs::write(bench.folder.path().join("backups"), "in the way").unwrap();
            }
        }
        let failed = bench.verify(new).await;
        assert_eq!(failed.status, JobStatus::Failed);
        assert_eq!(bench.state(new).await, VerifyState::Unverified, "{:?}", failed.error);
    }
    std::fs::remove_file(bench.folder.path().join("backups")).unwrap();
    bench.rename("unmounted", "backups");
    assert_eq!(bench.verify(new).await.status, JobStatus::Completed);
    assert_eq!(bench.state(new).await, VerifyState::Verified);
    bench.policy(daily(2)).await;
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([old, new]), "and retention deletes nothing as damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_in_a_store_that_is_there_is_damage() {
    let bench = Bench::new().await;
    let (first, second, third) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    std::fs::remove_file(bench.dump("backups", first).await).unwrap();
    assert!(bench.verify(first).await.error.unwrap().contains("is missing"));
    assert_eq!(bench.state(first).await, VerifyState::Corrupt, "an artifact is missing beside its manifest");
    let backup = bench.get(second).await;
    for key in backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key)) {
        std::fs::remove_file(bench.folder.path().join("backups").join(key)).unwrap();
    }
    assert!(bench.verify(second).await.error.unwrap().contains("is missing"));
    assert_eq!(bench.state(second).await, VerifyState::Corrupt, "all of it is missing beside other backups");
    assert_eq!(bench.verify(third).await.status, JobStatus::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_copy_takes_the_place_of_damaged_files_and_is_never_deleted_for_them() {
    let bench = Bench::new().await;
    let schedule = bench.two_stores().await;
    let id = bench.copied_on(0, schedule).await;
    let before = std::fs::read(bench.dump("archive", id).await).unwrap();
    bench.rot("backups", id).await;
    let failed = bench.verify(id).await;
    let error = failed.error.unwrap();
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(error.contains("damaged in 'Local'") && error.contains("in 'archive' it is whole"), "{error}");
    let backup = bench.get(id).await;
    assert_eq!(backup.verify_state, VerifyState::Verified);
    assert_ne!(backup.store_id, StoreId::LOCAL);
    assert_eq!(bench.copies(id).await, [("Local".to_owned(), CopyStatus::Complete)], "and the damaged one was made again");
    assert_eq!(std::fs::read(bench.dump("backups", id).await).unwrap(), before);
    let told: String = rusqlite::Connection::open(bench.ctx().db.path())
        .unwrap()
        .query_row("SELECT content FROM notices WHERE event = 'verify.failed'", [], |row| row.get(0))
        .unwrap();
    assert!(told.contains("is damaged in one store") && told.contains("whole in 'archive'"), "{told}");

    bench.day(1);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([id]));
    assert_eq!((bench.stored("backups"), bench.stored("archive")), (names(&backup), names(&backup)));
    assert_eq!(bench.verify(id).await.status, JobStatus::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_made_again_from_the_whole_backup() {
    let bench = Bench::new().await;
    let schedule = bench.two_stores().await;
    let id = bench.copied_on(0, schedule).await;
    bench.rot("archive", id).await;
    let error = bench.verify(id).await.error.unwrap();
    assert!(error.contains("damaged in 'archive'") && error.contains("in 'Local' it is whole"), "{error}");
    let backup = bench.get(id).await;
    assert_eq!((backup.verify_state, backup.store_id), (VerifyState::Verified, StoreId::LOCAL));
    assert_eq!(bench.copies(id).await, [("archive".to_owned(), CopyStatus::Complete)]);
    assert_eq!(bench.verify(id).await.status, JobStatus::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_whose_copy_cannot_be_asked_is_kept_until_it_can() {
    let bench = Bench::new().await;
    let schedule = bench.two_stores().await;
    let old = bench.copied_on(0, schedule).await;
    bench.rot("backups", old).await;
    bench.rename("archive", "unmounted");
    let error = bench.verify(old).await.error.unwrap();
    assert!(error.contains("damaged in 'Local'") && error.contains("whole in 'archive' could not be seen"), "{error}");
    assert_eq!(bench.state(old).await, VerifyState::Corrupt);
    // A newer good one is there, and the policy keeps one.
    let _ = std::fs::remove_dir_all(bench.folder.path().join("archive"));
    bench.rename("unmounted", "archive");
    let new = bench.copied_on(1, schedule).await;
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([old, new]), "it may still be whole");
    let plans = bench.preview().await;
    let reasons = plans.iter().flat_map(|plan| &plan.backups).filter(|backup| backup.id == old).flat_map(|backup| &backup.reasons);
    assert!(
        reasons.clone().count() > 0 && reasons.clone().all(|reason| reason.contains("may be whole")),
        "{:?}",
        reasons.collect::<Vec<_>>()
    );

    let error = bench.verify(old).await.error.unwrap();
    assert!(error.contains("in 'archive' it is whole"), "the copy took over: {error}");
    bench.run().await;
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([new]), "and by its policy it goes as any other");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_every_store_is_corrupt_and_makes_room_for_good_ones() {
    let bench = Bench::new().await;
    let schedule = bench.two_stores().await;
    let old = bench.copied_on(0, schedule).await;
    bench.rot("backups", old).await;
    bench.rot("archive", old).await;
    let error = bench.verify(old).await.error.unwrap();
    assert!(error.contains("in 'Local'") && error.contains("in 'archive'"), "{error}");
    assert_eq!(bench.state(old).await, VerifyState::Corrupt);
    assert_eq!(bench.copies(old).await, [("archive".to_owned(), CopyStatus::Damaged)]);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([old]), "there is no good one yet");
    let new = bench.copied_on(1, schedule).await;
    bench.run().await;
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([new]));
    assert_eq!(bench.stored("archive"), names(&bench.get(new).await), "its damaged copy went with it");
}
