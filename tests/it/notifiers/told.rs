//! What is told, to whom and when, in simulated time over a real catalogue, delivered to real sinks.

use std::sync::Arc;

use dbsnap::{
    db,
    domain::{
        database::Database,
        ids::{DatabaseId, OrganizationId},
        notice::{DeliveryStatus, NotifyRules, Severity},
        page::PageRequest,
        permissions::Actor,
    },
    services::notices::{self, deliver, notifiers, watch},
};
use serde_json::json;

use super::{
    bench::{Bench, DAY, HOUR, MINUTE, fact},
    sink::Sink,
};
use crate::support::disk::Disk;

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_failed_why_and_what_to_do_and_its_end_is_told() {
    let bench = Bench::new().await;
    bench.backup(Some(100), "").await;
    assert_eq!(bench.titles().await, ["Backup of shop succeeded"]);
    bench.pass(DAY);
    bench.backup(None, "pg_dump cannot reach db.internal:5432 (check that the server runs)").await;
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "followed up twice, told once: {told:?}");
    let notice = &told[0];
    assert_eq!((notice["title"].as_str(), notice["severity"].as_str()), (Some("Backup of shop failed"), Some("error")));
    assert_eq!(notice["what"], "pg_dump cannot reach db.internal:5432.");
    assert!(notice["nextStep"].as_str().unwrap().starts_with("Check that the server runs. Then run the backup again"), "{notice}");
    assert!(notice["link"].as_str().unwrap().starts_with("https://dbsnap.example.org/jobs/"), "{notice}");
    assert_eq!(fact(notice, "Last good backup"), Some("2026-11-02 04:00 CET, 24 hours ago"));
    assert_eq!(fact(notice, "When"), Some("2026-11-03 04:00 CET"));
    assert_eq!(notices::alerts(bench.ctx(), &Actor::system()).await.unwrap().len(), 1);

    bench.pass(HOUR);
    bench.backup(Some(100), "").await;
    let told = bench.told().await;
    assert_eq!(told[0]["title"], "Backup of shop works again");
    assert!(told[0]["what"].as_str().unwrap().contains("After 1 failure"), "{told:?}");
    assert!(notices::alerts(bench.ctx(), &Actor::system()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_failure_again_is_held_back_and_counted_and_the_recovery_passes() {
    let bench = Bench::new().await;
    for _ in 0..4 {
        bench.backup(None, "disk full").await;
        bench.pass(10 * MINUTE);
    }
    assert_eq!(bench.titles().await, ["Backup of shop failed"], "three are held back");
    bench.pass(2 * HOUR);
    bench.backup(None, "disk full").await;
    let told = bench.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(fact(&told[0], "Not told singly before this"), Some("3 more like it"), "{told:?}");
    assert_eq!(fact(&told[0], "Failures in a row"), Some("5"));
    bench.pass(MINUTE);
    bench.backup(Some(1), "").await;
    assert_eq!(bench.titles().await, ["Backup of shop works again", "Backup of shop succeeded"]);
    bench.pass(MINUTE);
    bench.backup(None, "disk full").await;
    assert_eq!(bench.titles().await, ["Backup of shop failed"], "what fails after a recovery is news");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_is_away_is_tried_again_with_growing_waits_and_then_given_up() {
    let bench = Bench::new().await;
    let id = notifiers::list(bench.ctx(), &Actor::system()).await.unwrap()[0].id;
    for _ in 0..6 {
        bench.sink.answer(500, "away");
    }
    bench.backup(None, "disk full").await;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let began = bench.ctx().now();
        while deliver::send_due(bench.ctx()).await.unwrap() == 0 {
            bench.pass(10_000);
        }
        waits.push(bench.ctx().now().since(began) / 1000);
    }
    assert_eq!(waits, [0, 30, 120, 600, 3600], "seconds");
    bench.pass(DAY);
    assert_eq!(deliver::send_due(bench.ctx()).await.unwrap(), 0, "given up");
    let log = notifiers::deliveries(bench.ctx(), &Actor::system(), id, PageRequest::default()).await.unwrap();
    assert_eq!((log.items[0].status, log.items[0].attempt), (DeliveryStatus::Failed, 5));
    assert!(log.items[0].error.as_deref().unwrap().contains("500: away"), "{:?}", log.items[0].error);
    assert_eq!(bench.sink.taken().len(), 5);

    bench.sink.taken();
    bench.backup(None, "disk full").await;
    bench.sink.answer(401, "who are you");
    // What is left of the scripted answers: one 500, then 401, which is not tried again.
    let mut sent = 0;
    for _ in 0..200 {
        sent += deliver::send_due(bench.ctx()).await.unwrap();
        bench.pass(MINUTE);
    }
    assert_eq!(sent, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_hangs_holds_up_no_other() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    bench.notifier_at("a silent one", &silent, NotifyRules::default()).await;
    bench.backup(None, "disk full").await;
    let (sender, mut done) = tokio::sync::mpsc::channel(2);
    while let Some(claimed) = deliver::claim(bench.ctx()).await.unwrap() {
        let (ctx, sender) = (Arc::clone(bench.ctx()), sender.clone());
        tokio::spawn(async move { sender.send(deliver::send(&ctx, claimed).await).await });
    }
    done.recv().await.unwrap().unwrap();
    assert_eq!(bench.sink.taken().len(), 1, "the one that answers has its message while the other hangs");
    // More for the silent one waits behind what hangs; the other one goes on.
    bench.pass(30_000);
    bench.backup(Some(1), "").await;
    let claimed = deliver::claim(bench.ctx()).await.unwrap().unwrap();
    deliver::send(bench.ctx(), claimed).await.unwrap();
    assert_eq!(bench.sink.taken()[0].json()["title"], "Backup of shop works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_sizes_off_their_usual_are_told_in_both_directions() {
    let bench = Bench::new().await;
    bench.set(json!({"groupMinutes": 0})).await;
    for rows in [1000, 1010, 990, 1005] {
        bench.backup(Some(rows), "").await;
        bench.pass(HOUR);
    }
    assert!(bench.titles().await.iter().all(|title| title == "Backup of shop succeeded"));
    bench.backup(Some(400), "").await;
    let told = bench.told().await;
    assert_eq!(told[0]["title"], "The row count of shop's backup dropped by 60 %");
    assert_eq!((fact(&told[0], "Now"), fact(&told[0], "Usual")), (Some("400"), Some("1,005")));
    bench.pass(HOUR);
    bench.backup(Some(2000), "").await;
    assert!(bench.titles().await.contains(&"The row count of shop's backup jumped by 100 %".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_once_and_its_end_too() {
    let bench = Bench::new().await;
    let place = bench.ctx().config.backup_storage_path.clone();
    let aside = place.with_extension("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, "a file where the folder was").unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local cannot be reached"]);
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    bench.pass(MINUTE);
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local can be reached again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_in_the_place_of_a_store_is_told_until_its_backups_are_back() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 1000).await;
    bench.back_up(database).await;
    bench.told().await;
    watch::watch(bench.ctx()).await.unwrap();
    assert!(bench.told().await.is_empty());
    let place = bench.ctx().config.backup_storage_path.clone();
    let aside = place.with_extension("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::fs::create_dir(&place).unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local does not hold what was backed up to it"]);
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    bench.pass(MINUTE);
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local can be reached again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_hears_only_of_what_it_asked_for() {
    let bench = Bench::new().await;
    let (grave, other) = (Sink::start(|_| (200, String::new())).await, Sink::start(|_| (200, String::new())).await);
    bench.notifier("grave", &grave, NotifyRules { least_severity: Severity::Error, ..NotifyRules::default() }).await;
    let shop = db::databases::get(&bench.ctx().db, OrganizationId::DEFAULT, bench.database).await.unwrap();
    let blog = Database { id: DatabaseId::new(), name: "blog".into(), ..shop };
    db::databases::insert(&bench.ctx().db, &blog).await.unwrap();
    bench.notifier("other", &other, NotifyRules { database_ids: vec![blog.id], ..NotifyRules::default() }).await;
    bench.backup(None, "disk full").await;
    bench.pass(HOUR);
    bench.backup(Some(1), "").await;
    bench.told().await;
    let titles: Vec<_> = grave.taken().iter().map(|received| received.json()["title"].clone()).collect();
    assert_eq!(titles, ["Backup of shop failed", "Backup of shop works again"], "whoever was told of the trouble is told of its end");
    assert!(other.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_is_told_and_its_end_too() {
    let disk = Disk::new("1M");
    let bench = Bench::over(&[("BACKUP_STORAGE_PATH", disk.path().to_str().unwrap())]).await;
    std::fs::write(disk.path().join("of somebody else"), vec![1; 900_000]).unwrap();
    bench.set(json!({"diskFreePercent": 20})).await;
    watch::watch(bench.ctx()).await.unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["title"].as_str().unwrap().starts_with("The store Local is running out of space: "), "{told:?}");
    assert!(fact(&told[0], "Free").is_some() && !told[0]["nextStep"].as_str().unwrap().is_empty());
    std::fs::remove_file(disk.path().join("of somebody else")).unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local has room again"]);
}
