//! Copies in further stores: made, read, judged by their own policy, told of pins.

use std::{collections::BTreeSet, sync::Arc};

use dbsnap::{
    db,
    domain::{
        artifact::ArtifactKind,
        backup::Backup,
        ids::{BackupId, StoreId},
        job::JobStatus,
        permissions::Actor,
        run::{Learned, Run, Silent},
    },
    services::{self, restore::RestoreRequest, retention::PolicyInput},
};
use serde_json::{Value, json};

use super::bench::{Bench, daily, names};

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_read_back_kept_by_their_own_policy_and_read_when_the_first_store_is_lost() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    let make = async |name: &str, keep| {
        let input = PolicyInput { name: name.into(), policy: daily(keep) };
        services::retention::create(bench.ctx(), &Actor::system(), input).await.unwrap().policy.id
    };
    let (short, long) = (make("short", 1).await, make("long", 2).await);
    let destinations = json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive, "retentionPolicyId": long }]);
    let schedule = bench.schedule(&destinations, Some(short.to_string()));
    let mut made = Vec::new();
    for day in 0..3 {
        let id = bench.back_up(day).await;
        bench.made_by(schedule, id).await;
        made.push(id);
    }
    let (second, third) = (bench.get(made[1]).await, bench.get(made[2]).await);
    assert_eq!(bench.ids().await, BTreeSet::from([made[1], made[2]]), "the oldest is in no store any more");
    assert_eq!(bench.stored("backups"), names(&third), "here one day is kept");
    assert_eq!(bench.stored("archive"), names(&second).union(&names(&third)).cloned().collect(), "and there two");
    assert_eq!(second.store_id, archive, "what is deleted here lives on there");
    assert!(second.artifacts.iter().all(|artifact| artifact.store_id == archive));
    let copies = services::copies::list(bench.ctx(), &Actor::system(), made[2]).await.unwrap();
    assert_eq!(copies.iter().map(|copy| copy.status.as_str()).collect::<Vec<_>>(), ["complete"]);

    // The first store is lost.
    std::fs::remove_dir_all(bench.folder.path().join("backups")).unwrap();
    std::fs::create_dir(bench.folder.path().join("backups")).unwrap();
    let job = services::backup::verify(bench.ctx(), &Actor::system(), made[2], Default::default()).await.unwrap();
    let job = bench.over(&job).await;
    assert_eq!(job.status, JobStatus::Completed, "{:?}", job.error);
    let kind = dbsnap::domain::artifact::ArtifactKind::Dump;
    assert!(services::backup::download(bench.ctx(), &Actor::system(), made[2], kind, true).await.is_ok());

    services::backup::delete(bench.ctx(), &Actor::system(), made[2]).await.unwrap();
    assert_eq!(bench.stored("archive"), names(&second), "a backup is deleted from every store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_still_has_to_be_copied_is_not_deleted_before() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    let first = bench.back_up(0).await;
    let destinations = json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive }]);
    let input = PolicyInput { name: "short".into(), policy: daily(1) };
    let short = services::retention::create(bench.ctx(), &Actor::system(), input).await.unwrap().policy.id;
    let schedule = bench.schedule(&destinations, Some(short.to_string()));
    // The further store is a file: nothing can be written there.
    std::fs::write(bench.folder.path().join("archive"), "in the way").unwrap();
    bench.made_by(schedule, first).await;
    let second = bench.back_up(1).await;
    bench.made_by(schedule, second).await;
    let planned = bench.preview().await;
    let reasons = &planned[0].backups.iter().find(|backup| backup.id == first).unwrap().reasons;
    assert_eq!(reasons[..], ["it still has to be copied to another store"]);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([first, second]));

    // It is tried again each day.
    std::fs::remove_file(bench.folder.path().join("archive")).unwrap();
    bench.day(2);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    services::retention::start(bench.ctx(), &Actor::system(), None).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.stored("archive"), names(&bench.get(second).await), "the copy was made, and went by its policy");
    assert_eq!(bench.ids().await, BTreeSet::from([second]));
}

/// What the manifest of a backup in a store says of its pin.
fn pinned_in(bench: &Bench, store: &str, backup: &Backup) -> bool {
    let bytes = std::fs::read(bench.folder.path().join(store).join(backup.manifest_key.as_deref().unwrap())).unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap()["pinned"].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_reaches_the_manifest_in_every_store_and_is_written_later_where_one_is_away() {
    let bench = Bench::new().await;
    let (_, _, id) = bench.copied("archive").await;
    let (ctx, actor, backup) = (bench.ctx(), Actor::system(), bench.get(id).await);
    services::backup::pin(ctx, &actor, id, true).await.unwrap();
    assert_eq!((pinned_in(&bench, "backups", &backup), pinned_in(&bench, "archive", &backup)), (true, true));
    assert!(services::backup::pins_to_write(ctx, &actor, id).await.unwrap().is_empty());

    bench.rename("archive", "away");
    std::fs::write(bench.folder.path().join("archive"), "in the way").unwrap();
    services::backup::pin(ctx, &actor, id, false).await.unwrap();
    assert_eq!((pinned_in(&bench, "backups", &backup), pinned_in(&bench, "away", &backup)), (false, true));
    assert_eq!(services::backup::pins_to_write(ctx, &actor, id).await.unwrap(), ["archive"]);
    assert_eq!(bench.audited("backup.unpin").await[0]["details"]["manifestsToWrite"], json!(["archive"]));
    assert_eq!(services::backup::write_noted_pins(ctx).await.unwrap(), 1, "it is still away");

    std::fs::remove_file(bench.folder.path().join("archive")).unwrap();
    bench.rename("away", "archive");
    assert_eq!(services::backup::write_noted_pins(ctx).await.unwrap(), 0);
    assert!(!pinned_in(&bench, "archive", &backup));
    assert!(services::backup::pins_to_write(ctx, &actor, id).await.unwrap().is_empty());
    let job = services::backup::verify(ctx, &actor, id, Default::default()).await.unwrap();
    assert_eq!(bench.over(&job).await.status, JobStatus::Completed, "the manifests are signed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_was_set_while_the_backup_ran_reaches_its_manifest_too() {
    let bench = Bench::new().await;
    let id = bench.back_up(0).await;
    let backup = bench.get(id).await;
    // As it is in the moment before it completes.
    bench.catalogue("PRAGMA foreign_keys = ON; DELETE FROM artifacts; UPDATE backups SET status = 'running', pinned = TRUE");
    db::backups::complete(&bench.ctx().db, &backup).await.unwrap();
    assert!(!pinned_in(&bench, "backups", &backup));
    assert_eq!(services::backup::write_noted_pins(bench.ctx()).await.unwrap(), 0);
    assert!(pinned_in(&bench, "backups", &backup));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_rebuilt_from_any_store_knows_the_pin() {
    let bench = Bench::new().await;
    let (store, _, id) = bench.copied("archive").await;
    services::backup::pin(bench.ctx(), &Actor::system(), id, true).await.unwrap();
    let backup = bench.get(id).await;
    // Of the two stores one was never told.
    let key = bench.folder.path().join("backups").join(backup.manifest_key.as_deref().unwrap());
    let pinned = std::fs::read(&key).unwrap();
    services::backup::pin(bench.ctx(), &Actor::system(), id, false).await.unwrap();
    std::fs::write(bench.folder.path().join("archive").join(backup.manifest_key.as_deref().unwrap()), pinned).unwrap();

    let rebuild = async |store| {
        let run = Run {
            cancel: Default::default(),
            observer: Arc::new(Silent),
            scratch: bench.folder.path().to_owned(),
            tool_dirs: Vec::new(),
            learned: Learned::default(),
            limits: Default::default(),
        };
        services::rebuild::rebuild(bench.ctx(), &Actor::system(), store, false, &run).await.unwrap()
    };
    bench.catalogue("PRAGMA foreign_keys = ON; DELETE FROM jobs; DELETE FROM backups");
    assert_eq!(rebuild(store).await.added, 1);
    assert!(bench.get(id).await.pinned, "from the archive alone");
    bench.catalogue("PRAGMA foreign_keys = ON; DELETE FROM backups");
    assert_eq!(rebuild(StoreId::LOCAL).await.added, 1);
    assert!(!bench.get(id).await.pinned);
    // As one that another installation, or this one before its loss, has made.
    bench.catalogue("UPDATE backups SET instance_id = 'before'");
    assert_eq!(rebuild(store).await.known, 1);
    assert!(bench.get(id).await.pinned, "one store that says so is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_and_browsing_read_a_copy_when_the_first_store_has_lost_the_backup() {
    let bench = Bench::new().await;
    let (_, _, id) = bench.copied("archive").await;
    let (ctx, actor) = (bench.ctx(), Actor::system());
    let shop = bench.folder.path().join("shop.db");
    let count =
        || rusqlite::Connection::open(&shop).unwrap().query_row("SELECT COUNT(*) FROM orders", [], |row| row.get::<_, u32>(0)).unwrap();
    // Rows can only be added from a snapshot: those of the table that was emptied.
    let tables = |source: &str| if source == "dump" { json!([]) } else { json!(["orders"]) };
    let restore = async |source: &str| {
        let mode = if source == "dump" { "drop" } else { "append" };
        rusqlite::Connection::open(&shop).unwrap().execute("DELETE FROM orders", []).unwrap();
        let request: RestoreRequest = serde_json::from_value(json!({
            "backupId": id, "databaseId": bench.database, "confirm": "shop.db", "plan": { "mode": mode, "source": source, "tables": tables(source) }
        }))
        .unwrap();
        let restore = services::restore::start(ctx, &actor, request).await.unwrap();
        let job = bench.over(&bench.job(restore.job_id.unwrap()).await).await;
        assert_eq!(job.status, JobStatus::Completed, "{source}: {:?}", job.error);
        assert_eq!(count(), 20, "{source}");
        bench.log(&job).await
    };
    assert!(!restore("dump").await.contains("its copy"), "its own store has it");
    // One object is missing, then the whole store is gone.
    let dump = bench.get(id).await.artifact(ArtifactKind::Dump).unwrap().key.clone();
    std::fs::remove_file(bench.folder.path().join("backups").join(dump)).unwrap();
    let log = restore("dump").await;
    assert!(log.contains("read from its copy in 'archive'") && log.contains("its own store 'Local' cannot give it whole"), "{log}");
    bench.rename("backups", "gone");
    std::fs::write(bench.folder.path().join("backups"), "in the way").unwrap();
    for source in ["dump", "snapshot"] {
        let log = restore(source).await;
        assert!(log.contains("read from its copy in 'archive'"), "{log}");
    }
    let tables = services::snapshots::browse::tables(ctx, &actor, id).await.unwrap();
    assert_eq!(tables.len(), 2);
    // And when no store has it, the error is that of its own.
    bench.rename("archive", "gone too");
    let request = json!({ "backupId": id, "databaseId": bench.database, "confirm": "shop.db", "plan": { "mode": "drop" } });
    let restore = services::restore::start(ctx, &actor, serde_json::from_value(request).unwrap()).await.unwrap();
    let job = bench.over(&bench.job(restore.job_id.unwrap()).await).await;
    assert_eq!((job.status, count()), (JobStatus::Failed, 20), "nothing was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_not_taken_from_one_store_when_the_other_that_is_to_keep_it_has_lost_it() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    let (short, long) = (bench.named_policy("short", daily(1)).await, bench.named_policy("long", daily(9)).await);
    let destinations = json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive, "retentionPolicyId": long }]);
    let schedule = bench.schedule(&destinations, Some(short.to_string()));
    let first = bench.back_up(0).await;
    bench.made_by(schedule, first).await;
    bench.rename("archive", "away");
    std::fs::create_dir(bench.folder.path().join("archive")).unwrap();
    let second = bench.back_up(1).await;
    bench.made_by(schedule, second).await;
    let job = bench.run().await;
    assert_eq!(job.status, JobStatus::Failed);
    assert!(job.error.unwrap().contains("where it is to live on"));
    assert!(bench.stored("backups").is_superset(&names(&bench.get(first).await)), "the only one there is stays");
    std::fs::remove_dir_all(bench.folder.path().join("archive")).unwrap();
    bench.rename("away", "archive");
    services::retention::daily(bench.ctx()).await.unwrap();
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert_eq!(bench.stored("backups"), names(&bench.get(second).await), "now it lives on there");
    assert_eq!(bench.ids().await, BTreeSet::from([first, second]));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_for_a_store_that_the_schedule_does_not_name_any_more_hold_nothing_up() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    std::fs::write(bench.folder.path().join("archive"), "in the way").unwrap();
    let short = bench.named_policy("short", daily(1)).await;
    let schedule = bench.schedule(&json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive }]), Some(short.to_string()));
    let mut made: Vec<BackupId> = Vec::new();
    for day in 0..2 {
        made.push(bench.back_up(day).await);
        bench.made_by(schedule, made[day as usize]).await;
    }
    assert_eq!(bench.preview().await[0].deleted, 0, "they have still to be copied");
    let details = json!({ "destinations": [{ "storeId": StoreId::LOCAL }] }).to_string();
    bench.catalogue(&format!("UPDATE schedules SET details = '{details}'"));
    bench.day(3);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([made[1]]));
    assert!(db::backup_copies::unmade(&bench.ctx().db, None).await.unwrap().is_empty());
    assert_eq!(bench.get(made[1]).await.store_id, StoreId::LOCAL);
}
