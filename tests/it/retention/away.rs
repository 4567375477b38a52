//! Stores that refuse, are away or have lost something.

use std::collections::BTreeSet;

use dbsnap::{
    db::retention::Claim,
    domain::{
        backup::{BackupStatus, VerifyState},
        job::JobStatus,
        permissions::Actor,
    },
    services,
};

use super::bench::{Bench, daily};
use crate::support::disk::Disk;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_keeps_the_rows_and_is_tried_again() {
    let disk = Disk::new("64m");
    let bench = Bench::at(tempfile::tempdir().unwrap(), disk.path().join("backups")).await;
    let (old, middle, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    bench.policy(daily(1)).await;
    disk.make_read_only();
    let failed = bench.run().await;
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.error.unwrap().contains("2 of 2 deletions failed"));
    assert_eq!(failed.report.unwrap()["failed"].as_array().unwrap().len(), 2);
    assert_eq!(bench.ids().await, BTreeSet::from([old, middle, new]));
    assert_eq!(bench.get(old).await.status, BackupStatus::Completed, "nothing of it was removed: it is still a backup");
    assert_eq!(bench.audited("retention.delete.failed").await.len(), 2);

    // The process ends when half of one is gone: it stays marked, whatever the policy says by then.
    disk.make_writable();
    assert!(matches!(bench.claim(middle).await, Claim::Delete { .. }));
    std::fs::remove_file(disk.path().join("backups").join(bench.get(middle).await.manifest_key.unwrap())).unwrap();
    disk.make_read_only();
    bench.policy(daily(30)).await;
    assert_eq!(bench.run().await.status, JobStatus::Failed);
    assert_eq!(bench.get(middle).await.status, BackupStatus::Deleting);
    disk.make_writable();
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert_eq!(bench.ids().await, BTreeSet::from([old, new]), "and the other is kept by the policy of now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_volume_is_not_mounted_loses_no_row() {
    let bench = Bench::new().await;
    let (old, new) = (bench.back_up(0).await, bench.back_up(1).await);
    bench.policy(daily(1)).await;
    let away = |from: &str, to: &str| std::fs::rename(bench.folder.path().join(from), bench.folder.path().join(to)).unwrap();
    away("backups", "unmounted");
    // First nothing is there, then another, empty folder.
    std::fs::write(bench.folder.path().join("backups"), "in the way").unwrap();
    assert_eq!(bench.run().await.status, JobStatus::Failed);
    std::fs::remove_file(bench.folder.path().join("backups")).unwrap();
    let failed = bench.run().await;
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.error.unwrap().contains("is the volume mounted?"));
    assert_eq!(bench.get(old).await.status, BackupStatus::Completed);
    std::fs::remove_dir_all(bench.folder.path().join("backups")).unwrap();
    away("unmounted", "backups");
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert_eq!(bench.ids().await, BTreeSet::from([new]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_mounted_makes_no_backup_damaged() {
    let bench = Bench::new().await;
    let (old, _) = (bench.back_up(0).await, bench.back_up(1).await);
    bench.rename("backups", "unmounted");
    std::fs::create_dir(bench.folder.path().join("backups")).unwrap();
    let job = services::backup::verify(bench.ctx(), &Actor::system(), old, Default::default()).await.unwrap();
    let job = bench.over(&job).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert!(job.error.unwrap().contains("is the volume mounted?"));
    assert_eq!(
        bench.get(old).await.verify_state,
        VerifyState::Unverified,
        "when it is mounted again, retention must not delete it as damaged"
    );
    std::fs::remove_dir(bench.folder.path().join("backups")).unwrap();
    bench.rename("unmounted", "backups");
    // A part of it that is missing is damage.
    std::fs::remove_file(bench.folder.path().join("backups").join(bench.get(old).await.artifacts[0].key.clone())).unwrap();
    let job = services::backup::verify(bench.ctx(), &Actor::system(), old, Default::default()).await.unwrap();
    assert_eq!(bench.over(&job).await.status, JobStatus::Failed);
    assert_eq!(bench.get(old).await.verify_state, VerifyState::Corrupt);
}
