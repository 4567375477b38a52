//! What real jobs tell when they fail, fail again and work again: sizes, verifications, copies, restores, deletions, upkeep.

use std::{fs, path::PathBuf};

use dbsnap::{
    domain::{
        backup::{Backup, VerifyState},
        ids::StoreId,
        maintenance::MaintenanceTask,
        permissions::Actor,
    },
    services::{
        backup::{self, VerifyRequest},
        maintenance, notices, restore, retention, schedules,
        stores::{self, StoreInput},
    },
};
use serde_json::{Value, json};

use super::{
    bench::{Bench, DAY, HOUR, MINUTE, fact},
    real::{damage, fill},
};

fn text<'a>(notice: &'a Value, field: &str) -> &'a str {
    notice[field].as_str().unwrap_or_else(|| panic!("no {field} in {notice}"))
}

/// Event, severity, title and the beginning of the link.
fn is(notice: &Value, event: &str, severity: &str, title: &str, page: &str) {
    assert_eq!((text(notice, "event"), text(notice, "severity"), text(notice, "title")), (event, severity, title), "{notice}");
    assert!(text(notice, "link").starts_with(&format!("https://dbsnap.example.org{page}")), "{notice}");
}

fn artifact(bench: &Bench, backup: &Backup) -> PathBuf {
    bench.ctx().config.backup_storage_path.join(&backup.artifacts[0].key)
}

async fn open_alerts(bench: &Bench) -> usize {
    notices::alerts(bench.ctx(), &Actor::system()).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_size_spikes_or_drops_is_told_with_what_is_usual_what_is_now_and_what_to_do() {
    let bench = Bench::new().await;
    let (database, file) = bench.file_database("notes", 1_000_000).await;
    for bytes in [1_000_000, 1_010_000, 990_000, 1_000_000] {
        fill(&file, bytes);
        bench.back_up(database).await;
        bench.pass(MINUTE);
    }
    assert!(bench.told_of("backup.size_unusual").await.is_empty(), "nothing is unusual yet");

    fill(&file, 4_000_000);
    let large = bench.back_up(database).await;
    let told = bench.told_of("backup.size_unusual").await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "backup.size_unusual", "warning", text(&told[0], "title"), &format!("/backups/{}", large.id));
    assert!(text(&told[0], "title").starts_with("The size of notes's backup jumped by "), "{}", told[0]);
    let (usual, now) = (fact(&told[0], "Usual").unwrap(), fact(&told[0], "Now").unwrap());
    assert_eq!((usual, now), ("1.01 MB", "4.01 MB"));
    assert!(text(&told[0], "what").contains(&format!("This backup has {now}; the last 4 good ones have {usual} in the middle")));
    assert!(text(&told[0], "nextStep").contains("compare this backup with the one before it"), "{}", told[0]);

    // Other news, and graver: the jump of a minute ago does not hold it back. A second drop is a repeat.
    for bytes in [10_000, 11_000] {
        bench.pass(MINUTE);
        fill(&file, bytes);
        bench.back_up(database).await;
    }
    let told = bench.told_of("backup.size_unusual").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(text(&told[0], "severity"), "error");
    assert!(text(&told[0], "title").starts_with("The size of notes's backup dropped by 9"), "{}", told[0]);
    assert!(text(&told[0], "nextStep").contains("no table was emptied or dropped by mistake"), "{}", told[0]);
    assert!(bench.told_of("backup.rows_unusual").await.is_empty(), "the row is there all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_told_once_and_again_when_it_stays_and_its_repair_is_told_too() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let made = bench.back_up(database).await;
    bench.told().await;
    let verify = async || {
        backup::verify(bench.ctx(), &Actor::system(), made.id, VerifyRequest::default()).await.unwrap();
        bench.work().await.pop().unwrap()
    };
    damage(&artifact(&bench, &made));
    verify().await.unwrap_err();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "verify.failed", "critical", "A backup of notes is damaged", &format!("/backups/{}", made.id));
    assert!(text(&told[0], "what").starts_with("The backup of 2026-11-02 04:00 CET cannot be trusted any more."), "{}", told[0]);
    assert!(text(&told[0], "nextStep").starts_with("Run a new backup now"), "{}", told[0]);
    assert_eq!(fact(&told[0], "Last good backup"), Some("none yet"));
    assert_eq!(open_alerts(&bench).await, 1);

    bench.pass(HOUR);
    verify().await.unwrap_err();
    assert_eq!(bench.titles().await, Vec::<String>::new(), "the same again within two hours is held back");
    bench.pass(2 * HOUR);
    verify().await.unwrap_err();
    let told = bench.told().await;
    assert_eq!((fact(&told[0], "Failures in a row"), fact(&told[0], "Not told singly before this")), (Some("3"), Some("1 more like it")));

    damage(&artifact(&bench, &made));
    bench.pass(MINUTE);
    verify().await.unwrap();
    assert_eq!(bench.backup_of(made.id).await.verify_state, VerifyState::Verified);
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "resolved", "info", "A backup of notes is intact", &format!("/backups/{}", made.id));
    assert!(text(&told[0], "what").contains("3 failures"), "{}", told[0]);
    assert_eq!(open_alerts(&bench).await, 0);
    bench.pass(MINUTE);
    verify().await.unwrap();
    assert!(bench.told().await.is_empty(), "that all stays well is no news");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_cannot_be_read_is_told_as_that_and_not_as_damaged() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let made = bench.back_up(database).await;
    bench.told().await;
    let verify = async || {
        backup::verify(bench.ctx(), &Actor::system(), made.id, VerifyRequest::default()).await.unwrap();
        bench.work().await.pop().unwrap()
    };
    let store = bench.ctx().config.backup_storage_path.clone();
    let aside = store.with_extension("aside");
    fs::rename(&store, &aside).unwrap();
    fs::write(&store, "a file where the folder was").unwrap();
    verify().await.unwrap_err();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "verify.failed", "warning", "A backup of notes could not be verified", &format!("/backups/{}", made.id));
    assert!(text(&told[0], "what").contains("was not found damaged") && !text(&told[0], "nextStep").is_empty(), "{}", told[0]);
    assert_ne!(bench.backup_of(made.id).await.verify_state, VerifyState::Corrupt);
    fs::remove_file(&store).unwrap();
    fs::rename(&aside, &store).unwrap();
    bench.pass(MINUTE);
    verify().await.unwrap();
    assert_eq!(bench.titles().await, ["A backup of notes is intact"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_damage_of_a_backup_that_is_deleted_is_over() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let made = bench.back_up(database).await;
    damage(&artifact(&bench, &made));
    backup::verify(bench.ctx(), &Actor::system(), made.id, VerifyRequest::default()).await.unwrap();
    bench.work().await;
    bench.told().await;
    bench.back_up(database).await;
    backup::delete(bench.ctx(), &Actor::system(), made.id).await.unwrap();
    notices::watch::watch(bench.ctx()).await.unwrap();
    let told = bench.told_of("resolved").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((text(&told[0], "title"), text(&told[0], "what")), ("A backup of notes is damaged: over", "The backup was deleted."));
    assert_eq!(open_alerts(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_store_refuses_is_told_and_grouped_and_its_end_is_told_too() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let second = bench.path().join("second");
    fs::create_dir(&second).unwrap();
    let input: StoreInput = serde_json::from_value(json!({"name": "Second", "kind": "local", "settings": {"path": second}})).unwrap();
    let store = stores::create(bench.ctx(), &Actor::system(), input).await.unwrap();
    let input = json!({"name": "nightly", "databaseId": database, "cron": "@daily", "timeZone": "UTC",
        "destinations": [{"storeId": StoreId::LOCAL}, {"storeId": store.id}]});
    let schedule = schedules::create(bench.ctx(), &Actor::system(), serde_json::from_value(input).unwrap()).await.unwrap().schedule.id;
    let run = async || {
        schedules::run_now(bench.ctx(), &Actor::system(), schedule).await.unwrap();
        bench.work().await
    };
    // A file stands where the folder of the store was.
    fs::remove_dir_all(&second).unwrap();
    fs::write(&second, "no folder").unwrap();
    let outcomes = run().await;
    assert!(outcomes.len() == 2 && outcomes[0].is_ok() && outcomes[1].is_err(), "{outcomes:?}");
    let told = bench.told_of("job.failed").await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "job.failed", "warning", "Copying backups to Second failed", "/jobs/");
    assert!(text(&told[0], "what").contains("'Second'") && text(&told[0], "what").contains("in fewer places"), "{}", told[0]);
    assert!(!text(&told[0], "nextStep").is_empty());

    bench.pass(HOUR);
    run().await;
    assert!(bench.told_of("job.failed").await.is_empty(), "held back");
    bench.pass(HOUR);
    fs::remove_file(&second).unwrap();
    fs::create_dir(&second).unwrap();
    let outcomes = run().await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let told = bench.told_of("resolved").await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "resolved", "info", "Copying backups to Second works again", "/jobs/");
    assert!(text(&told[0], "what").contains("2 failures"), "{}", told[0]);
    assert_eq!(open_alerts(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_says_how_it_leaves_the_target_and_the_next_good_one_ends_it() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let made = bench.back_up(database).await;
    bench.told().await;
    let target = bench.path().join("restored.db");
    let start = async || {
        let plan = json!({"mode": "new", "targetName": target});
        let request = |confirm: &str| {
            serde_json::from_value(json!({"backupId": made.id, "databaseId": database, "plan": plan, "confirm": confirm})).unwrap()
        };
        // The product says what has to be typed.
        let asked = restore::start(bench.ctx(), &Actor::system(), request("")).await.unwrap_err();
        let confirm = asked.fields[0].1.strip_prefix("must be ").unwrap();
        let restore = restore::start(bench.ctx(), &Actor::system(), request(confirm)).await.unwrap();
        (restore.id, bench.work().await.pop().unwrap())
    };
    damage(&artifact(&bench, &made));
    let (id, outcome) = start().await;
    outcome.unwrap_err();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    let title = text(&told[0], "title").to_owned();
    assert!(title.starts_with("Restore into ") && title.ends_with("restored.db failed"), "{title}");
    is(&told[0], "restore.failed", "error", &title, &format!("/restores/{id}"));
    assert!(text(&told[0], "nextStep").contains("look at it before anything uses it, then start a new restore"), "{}", told[0]);
    assert!(fact(&told[0], "From").unwrap().starts_with("notes of "), "{}", told[0]);
    bench.pass(MINUTE);
    start().await.1.unwrap_err();
    assert!(bench.told().await.is_empty(), "the same into the same place is held back");

    damage(&artifact(&bench, &made));
    bench.pass(MINUTE);
    let (id, outcome) = start().await;
    outcome.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(text(&told[0], "event") == "resolved" && text(&told[0], "title").ends_with("restored.db works again"), "{told:?}");
    is(&told[1], "restore.finished", "info", text(&told[1], "title"), &format!("/restores/{id}"));
    assert_eq!(text(&told[1], "what"), "1 rows in 1 tables are in the target.");
    assert_eq!(open_alerts(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_restore_that_nobody_repeats_is_wrong_for_a_week_and_then_history() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let made = bench.back_up(database).await;
    damage(&artifact(&bench, &made));
    let target = bench.path().join("restored.db");
    let request =
        json!({"backupId": made.id, "databaseId": database, "plan": {"mode": "new", "targetName": target}, "confirm": "restored.db"});
    restore::start(bench.ctx(), &Actor::system(), serde_json::from_value(request).unwrap()).await.unwrap();
    bench.work().await;
    for (days, open) in [(6, 1), (2, 0)] {
        bench.pass(days * DAY);
        notices::watch::watch(bench.ctx()).await.unwrap();
        assert_eq!(open_alerts(&bench).await, open, "after {days} more days");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_a_store_refuses_are_told_and_their_end_is_told_too() {
    let bench = Bench::new().await;
    let (database, _) = bench.file_database("notes", 100_000).await;
    let policy = serde_json::from_value(json!({"name": "one", "mode": "standard", "keepDaily": 1})).unwrap();
    let policy = retention::create(bench.ctx(), &Actor::system(), policy).await.unwrap().policy.id;
    let old = bench.back_up(database).await;
    bench.pass(DAY);
    // The volume that holds it is not there, and somebody else's is.
    let store = bench.ctx().config.backup_storage_path.clone();
    let files: Vec<_> =
        old.manifest_key.iter().chain(old.artifacts.iter().map(|artifact| &artifact.key)).map(|key| store.join(key)).collect();
    let aside = |file: &PathBuf| file.with_extension("aside");
    files.iter().for_each(|file| fs::rename(file, aside(file)).unwrap());
    bench.back_up(database).await;
    // The backup is a few milliseconds younger than the clock that stands still.
    bench.pass(MINUTE);
    retention::set_manual(bench.ctx(), &Actor::system(), database, Some(policy)).await.unwrap();
    bench.told().await;
    let run = async || {
        retention::start(bench.ctx(), &Actor::system(), Some(database)).await.unwrap();
        bench.work().await.pop().unwrap()
    };
    run().await.unwrap_err();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "job.failed", "warning", "Deleting old backups of notes failed", "/jobs/");
    assert!(text(&told[0], "what").contains("Nothing is lost") && !text(&told[0], "nextStep").is_empty(), "{}", told[0]);
    bench.pass(MINUTE);
    run().await.unwrap_err();
    assert!(bench.told().await.is_empty(), "held back");
    files.iter().for_each(|file| fs::rename(aside(file), file).unwrap());
    bench.pass(MINUTE);
    run().await.unwrap();
    assert_eq!(bench.titles().await, ["Deleting old backups of notes works again"]);
    assert_eq!(open_alerts(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_that_fails_is_told_and_its_end_is_told_too() {
    let bench = Bench::new().await;
    let run = async || {
        maintenance::start(bench.ctx(), &Actor::system(), MaintenanceTask::Cleanup).await.unwrap();
        bench.work().await.pop().unwrap()
    };
    let uploads = bench.ctx().uploads();
    let _ = fs::remove_dir_all(&uploads);
    fs::write(&uploads, "a file where the folder was").unwrap();
    run().await.unwrap_err();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    is(&told[0], "job.failed", "warning", "Maintenance failed", "/jobs/");
    assert!(text(&told[0], "what").contains("uploads") && text(&told[0], "what").ends_with("Backups go on."), "{}", told[0]);
    bench.pass(MINUTE);
    run().await.unwrap_err();
    assert!(bench.told().await.is_empty(), "held back");
    fs::remove_file(&uploads).unwrap();
    bench.pass(MINUTE);
    run().await.unwrap();
    assert_eq!(bench.titles().await, ["Maintenance works again"]);
}
