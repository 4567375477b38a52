//! The dead-man's alert: when it comes, when it does not, and how it ends, in simulated time.

use dbsnap::{
    db,
    domain::{
        database::Database,
        ids::{DatabaseId, OrganizationId, ScheduleId},
        permissions::Actor,
    },
    services::{notices::watch, schedules},
};
use serde_json::{Value, json};

use super::bench::{Bench, DAY, HOUR, fact};

const HOME: OrganizationId = OrganizationId::DEFAULT;

impl Bench {
    /// A second database, of another name.
    async fn another(&self, name: &str) -> DatabaseId {
        let shop = db::databases::get(&self.ctx().db, HOME, self.database).await.unwrap();
        let other = Database { id: DatabaseId::new(), name: name.into(), created_at: self.ctx().now(), ..shop };
        db::databases::insert(&self.ctx().db, &other).await.unwrap();
        other.id
    }

    /// Makes a schedule in Berlin; `more` is laid over its fields.
    async fn schedule(&self, database: DatabaseId, name: &str, more: Value) -> ScheduleId {
        let mut input = json!({"name": name, "databaseId": database, "timeZone": "Europe/Berlin", "catchUp": false});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schedules::create(self.ctx(), &Actor::system(), serde_json::from_value(input).unwrap()).await.unwrap().schedule.id
    }

    /// Looks each hour, and tells in which hour the dead-man's alert of which database came, or ended.
    async fn watched(&self, hours: u32) -> Vec<(u32, String)> {
        let mut told = Vec::new();
        for hour in 0..hours {
            watch::watch(self.ctx()).await.unwrap();
            let notices = self.told().await;
            let of_it = notices.iter().filter(|notice| notice["group"].as_str().unwrap().starts_with("none-good:"));
            told.extend(of_it.map(|notice| (hour, notice["title"].as_str().unwrap().to_owned())));
            self.pass(HOUR);
        }
        told
    }
}

fn expect(told: &[(u32, String)], expected: &[(u32, &str)]) {
    assert_eq!(told, expected.iter().map(|(hour, title)| (*hour, (*title).to_owned())).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_mans_alert_is_told_once_again_after_a_day_and_resolved() {
    let bench = Bench::new().await;
    bench.set(json!({"deadManHours": 26})).await;
    bench.backup(Some(1), "").await;
    bench.told().await;
    let mut told = Vec::new();
    for hour in 0..80 {
        watch::watch(bench.ctx()).await.unwrap();
        told.extend(bench.titles().await.into_iter().map(|title| (hour, title)));
        bench.pass(HOUR);
    }
    let expected =
        [(27, "No good backup of shop for 27 hours"), (51, "No good backup of shop for 2 days"), (75, "No good backup of shop for 3 days")];
    assert_eq!(told, expected.map(|(hour, title)| (hour, title.to_owned())));
    bench.backup(Some(1), "").await;
    watch::watch(bench.ctx()).await.unwrap();
    assert!(bench.titles().await.contains(&"shop has a good backup again".to_owned()));
    watch::watch(bench.ctx()).await.unwrap();
    assert!(bench.titles().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_setting_the_dead_man_counts_two_slots_of_the_schedule_and_missed_slots_are_told() {
    let bench = Bench::new().await;
    let input =
        json!({"name": "nightly", "databaseId": bench.database, "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "catchUp": false});
    let schedule = schedules::create(bench.ctx(), &Actor::system(), serde_json::from_value(input).unwrap()).await.unwrap();
    bench.backup(Some(1), "").await;
    bench.told().await;
    let mut told = Vec::new();
    for hour in 0..60 {
        watch::watch(bench.ctx()).await.unwrap();
        told.extend(bench.titles().await.into_iter().map(|title| (hour, title)));
        bench.pass(HOUR);
    }
    // Made at 04:00 in Berlin; due at 02:30 of the next two nights, and an hour to run.
    assert_eq!(told, [(48, "No good backup of shop for 2 days".to_owned())]);

    schedules::tick(bench.ctx()).await.unwrap();
    schedules::tick(bench.ctx()).await.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["title"], "2 backups of shop missed");
    assert_eq!(fact(&told[0], "Schedule"), Some(schedule.schedule.name.as_str()));
    assert!(told[0]["what"].as_str().unwrap().contains("02:30"), "{}", told[0]["what"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_runs_after_another_is_expected_by_the_times_of_the_first() {
    let bench = Bench::new().await;
    let (second, third) = (bench.another("orders").await, bench.another("archive").await);
    let root = bench.schedule(bench.database, "root", json!({"cron": "30 2 * * *"})).await;
    let after = bench.schedule(second, "after", json!({"afterScheduleId": root})).await;
    bench.schedule(third, "last", json!({"afterScheduleId": after})).await;
    // Made at 04:00 in Berlin. Two nights later at 02:30, and an hour to run for each one of the chain.
    let told = bench.watched(52).await;
    expect(
        &told,
        &[(48, "shop has no good backup at all"), (49, "orders has no good backup at all"), (50, "archive has no good backup at all")],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_cut_expects_nothing_behind_the_cut() {
    let bench = Bench::new().await;
    let (second, third) = (bench.another("orders").await, bench.another("archive").await);
    let root = bench.schedule(bench.database, "root", json!({"cron": "30 2 * * *"})).await;
    let after = bench.schedule(second, "after", json!({"afterScheduleId": root})).await;
    bench.schedule(third, "last", json!({"afterScheduleId": after})).await;
    schedules::set_enabled(bench.ctx(), &Actor::system(), after, false).await.unwrap();
    expect(&bench.watched(60).await, &[(48, "shop has no good backup at all")]);
    // From when the chain is whole again, two nights.
    schedules::set_enabled(bench.ctx(), &Actor::system(), after, true).await.unwrap();
    let told = bench.watched(60).await;
    let others: Vec<_> = told.into_iter().filter(|(_, title)| !title.contains("shop")).collect();
    // It is 16:00 now: 34 hours and 30 minutes to 02:30 two nights on.
    expect(&others, &[(37, "orders has no good backup at all"), (38, "archive has no good backup at all")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_only_schedule_is_off_is_expected_to_have_nothing_and_that_is_said() {
    let bench = Bench::new().await;
    let schedule = bench.schedule(bench.database, "nightly", json!({"cron": "30 2 * * *"})).await;
    expect(&bench.watched(50).await, &[(48, "shop has no good backup at all")]);
    schedules::set_enabled(bench.ctx(), &Actor::system(), schedule, false).await.unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    let told = bench.told().await;
    assert_eq!(told[0]["title"], "No backup of shop is expected any more");
    assert_eq!(told[0]["what"], "No schedule that is on makes backups of it by itself. There is none.");
    bench.pass(HOUR);
    expect(&bench.watched(24 * 30).await, &[]);
    // What passed while it was off is not held against it.
    schedules::set_enabled(bench.ctx(), &Actor::system(), schedule, true).await.unwrap();
    let told = bench.watched(60).await;
    assert!(told.len() == 1 && told[0].0 > 24, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_new_or_has_new_times_is_given_two_slots() {
    let bench = Bench::new().await;
    bench.backup(Some(1), "").await;
    bench.pass(20 * DAY);
    expect(&bench.watched(1).await, &[]);
    let schedule = bench.schedule(bench.database, "monthly", json!({"cron": "0 0 1 * *"})).await;
    expect(&bench.watched(24).await, &[]);
    // From monthly to hourly: the backup of three weeks ago was right until now.
    let input = json!({"name": "hourly", "databaseId": bench.database, "timeZone": "Europe/Berlin", "cron": "@hourly"});
    schedules::update(bench.ctx(), &Actor::system(), schedule, serde_json::from_value(input.clone()).unwrap()).await.unwrap();
    let told = bench.watched(6).await;
    expect(&told, &[(4, "No good backup of shop for 21 days")]);
    // To save the same again changes nothing: what is overdue stays so.
    schedules::update(bench.ctx(), &Actor::system(), schedule, serde_json::from_value(input).unwrap()).await.unwrap();
    expect(&bench.watched(4).await, &[]);
    assert_eq!(dbsnap::services::notices::alerts(bench.ctx(), &Actor::system()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_by_hand_alone_are_expected_only_by_the_setting() {
    let bench = Bench::new().await;
    bench.backup(Some(1), "").await;
    expect(&bench.watched(24 * 60).await, &[]);
    bench.set(json!({"deadManHours": 48})).await;
    expect(&bench.watched(1).await, &[(0, "No good backup of shop for 60 days")]);
    bench.backup(Some(1), "").await;
    expect(&bench.watched(1).await, &[(0, "shop has a good backup again")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blackout_and_a_load_that_is_waited_out_are_no_reason_for_an_alert() {
    let bench = Bench::new().await;
    let waits =
        json!({"cron": "@hourly", "blackouts": [{"from": "08:00", "to": "18:00"}], "load": {"maxHostLoad": 1.0, "latestAfterMinutes": 90}});
    bench.schedule(bench.database, "not by day", waits).await;
    bench.pass(3 * HOUR);
    // 07:00 in Berlin: the slot of 08:00 and all after it wait until 18:00.
    bench.backup(Some(1), "").await;
    bench.pass(30 * 60_000);
    // Each look is at half past.
    expect(&bench.watched(16).await, &[(12, "No good backup of shop for 12 hours")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failures_of_a_schedule_that_was_removed_are_over() {
    let bench = Bench::new().await;
    let (database, file) = bench.file_database("notes", 1000).await;
    let schedule = bench.schedule(database, "nightly", json!({"cron": "30 2 * * *"})).await;
    std::fs::remove_file(file).unwrap();
    schedules::run_now(bench.ctx(), &Actor::system(), schedule).await.unwrap();
    bench.work().await;
    assert_eq!(bench.titles().await, ["Backup of notes failed"]);
    schedules::delete(bench.ctx(), &Actor::system(), schedule, Default::default()).await.unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["title"], "Backup of notes failed: over");
    assert!(fact(&told[0], "It began").is_some());
}
