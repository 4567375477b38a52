//! Hooks around real backups: what they are told, and what they cannot do.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sink::Sink;
use crate::{support::served::wait_until, web::site::Site};

/// An idle site with a folder of hooks, and a queued backup of a schedule.
struct Bench {
    site: Site,
    place: TempDir,
    database: String,
}

impl Bench {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let hooks = place.path().join("hooks");
        fs::create_dir(&hooks).unwrap();
        fs::set_permissions(&hooks, fs::Permissions::from_mode(0o755)).unwrap();
        let site = Site::idle_with(&[("HOOKS_DIR", hooks.to_str().unwrap()), ("RETRY_BASE_SECONDS", "0")]).await;
        let database = site.add_database("shop", 20).await;
        Self { site, place, database }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes a program into the folder. `{place}` in it is the private folder of this test.
    fn script(&self, name: &str, body: &str) {
        let path = self.path("hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{}\n", body.replace("{place}", self.place.path().to_str().unwrap()))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Queues a backup of a schedule with these hooks. Returns its job.
    async fn queue(&self, hooks: Value, attempts: u32) -> String {
        let queued = self.site.api(Method::POST, "/api/backups", json!({"databaseId": self.database})).await;
        let job = queued.json["data"]["jobId"].as_str().unwrap().to_owned();
        let (schedule, details) = (uuid::Uuid::now_v7().to_string(), json!({"hooks": hooks}).to_string());
        let catalogue = self.site.catalogue();
        let insert =
            "INSERT INTO schedules (id, organization_id, database_id, name, enabled, cron, time_zone, details, created_at, updated_at)
             SELECT ?1, id, ?2, 'nightly', TRUE, '0 3 * * *', 'Europe/Berlin', ?3, 0, 0 FROM organizations";
        catalogue.execute(insert, [&schedule, &self.database, &details]).unwrap();
        catalogue.execute("UPDATE backups SET schedule_id = ?1, type = 'daily'", [&schedule]).unwrap();
        catalogue.execute("UPDATE jobs SET schedule_id = ?1, max_attempts = ?2", rusqlite::params![schedule, attempts]).unwrap();
        job
    }

    /// Runs one backup with these hooks to its end: the job, the backup of its last attempt, and the job's log.
    async fn run(&mut self, hooks: Value, attempts: u32) -> (Value, Value, Vec<String>) {
        let job = self.queue(hooks, attempts).await;
        self.site.begin().await;
        let job = self.site.wait(&format!("/api/jobs/{job}")).await;
        let backup = self.site.api(Method::GET, &format!("/api/backups/{}", job["backupId"].as_str().unwrap()), Value::Null).await;
        let lines = self.log(job["id"].as_str().unwrap()).await;
        (job, backup.json["data"].clone(), lines)
    }

    async fn log(&self, job: &str) -> Vec<String> {
        let lines = self.site.api(Method::GET, &format!("/api/jobs/{job}/logs"), Value::Null).await.json["data"].clone();
        lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    fn stored(&self) -> usize {
        count_files(&self.site.ctx.config.backup_storage_path)
    }

    /// The processes whose ids were written into a file, that still live.
    fn alive(&self, file: &str) -> Vec<String> {
        let ids = fs::read_to_string(self.path(file)).unwrap();
        assert!(!ids.trim().is_empty(), "the hook has run");
        ids.split_whitespace().filter(|id| lives(id)).map(str::to_owned).collect()
    }
}

fn lives(id: &str) -> bool {
    // A dead process that nobody has waited for yet is a zombie.
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

fn before(command: &[&str], seconds: u32) -> Value {
    json!({"stage": "before", "command": command, "timeoutSeconds": seconds})
}

fn after(command: &[&str]) -> Value {
    json!({"stage": "after", "command": command, "timeoutSeconds": 20})
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_around_the_backup_with_its_facts_in_their_environment() {
    let mut bench = Bench::new().await;
    bench.script("note", "env > {place}/$1.env; echo \"$0 says $2\"; echo 'warning: on the other channel' >&2");
    let spaced = "a b; touch {place}/injected $(id)";
    let (job, backup, log) = bench.run(json!([before(&["note", "first", spaced], 20), after(&["note", "last", "x"])]), 1).await;
    assert_eq!(job["status"], "completed", "{job} {log:?}");
    let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap();
    let fact = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} is not in {text}"))
    };
    let (first, last) = (read("first.env"), read("last.env"));
    for (name, in_first, in_last) in [
        ("DBSNAP_STAGE", "before", "after"),
        ("DBSNAP_STATUS", "running", "completed"),
        ("DBSNAP_DATABASE", "shop", "shop"),
        ("DBSNAP_ENGINE", "sqlite", "sqlite"),
        ("DBSNAP_TYPE", "daily", "daily"),
        ("DBSNAP_SCHEDULE", "nightly", "nightly"),
        ("DBSNAP_ATTEMPT", "1", "1"),
        ("DBSNAP_ERROR", "", ""),
        ("DBSNAP_BACKUP_ID", backup["id"].as_str().unwrap(), backup["id"].as_str().unwrap()),
    ] {
        assert_eq!((fact(&first, name).as_str(), fact(&last, name).as_str()), (in_first, in_last), "{name}");
    }
    let stored: u64 = backup["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["storedSize"].as_u64().unwrap()).sum();
    assert_eq!(fact(&last, "DBSNAP_SIZE_BYTES"), stored.to_string());
    assert_eq!(fact(&last, "DBSNAP_ROWS"), "40");
    assert!(fact(&last, "DBSNAP_DURATION_MS").parse::<u64>().unwrap() > 0);
    assert!(!first.contains("ENCRYPTION_KEY") && !first.contains("HOME="), "nothing else is in it: {first}");
    assert!(!bench.path("injected").exists(), "arguments are no shell text");
    assert!(log.iter().any(|line| line.starts_with("hook note: ") && line.ends_with(&format!("says {spaced}"))), "{log:?}");
    assert!(log.contains(&"hook note: warning: on the other channel".to_owned()), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_before_the_backup_stops_it_and_is_tried_again_by_the_policy() {
    let mut bench = Bench::new().await;
    bench.script("deny", "echo tried >> {place}/tries; echo 'the application is busy' >&2; exit 3");
    bench.script("undo", "echo $DBSNAP_STATUS: $DBSNAP_ERROR >> {place}/undone");
    let (job, backup, log) = bench.run(json!([before(&["deny"], 20), after(&["undo"])]), 2).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(2)), "{job}");
    let error = backup["error"].as_str().unwrap();
    for part in ["the backup was not made, because a hook before it failed", "'deny' failed (exit status: 3)", "the application is busy"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert_eq!(backup["status"], "failed");
    assert_eq!(fs::read_to_string(bench.path("tries")).unwrap().lines().count(), 2);
    let undone = fs::read_to_string(bench.path("undone")).unwrap();
    assert!(undone.lines().count() == 2 && undone.starts_with("failed: the backup was not made"), "{undone}");
    assert_eq!(bench.stored(), 0, "nothing was backed up: {log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_is_ended_with_its_children_even_when_it_ignores_the_request() {
    let mut bench = Bench::new().await;
    bench.script("hang", "trap '' TERM\nsleep 600 &\necho $$ $! > {place}/ids\nwhile :; do sleep 1; done");
    let begun = Instant::now();
    let (job, backup, _) = bench.run(json!([before(&["hang"], 1)]), 1).await;
    assert_eq!(job["status"], "failed", "{job}");
    assert!(backup["error"].as_str().unwrap().contains("'hang' took longer than 1 s and was ended"), "{backup}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(bench.alive("ids"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_outlive_their_hook_are_ended_and_not_waited_for() {
    let mut bench = Bench::new().await;
    bench.script(
        "fork",
        "for n in 1 2 3; do sleep 600 & echo $! >> {place}/ids; done\n(trap '' TERM HUP; sleep 600) &\necho $! >> {place}/ids\nexit 0",
    );
    let begun = Instant::now();
    let (job, _, log) = bench.run(json!([before(&["fork"], 300)]), 1).await;
    assert_eq!(job["status"], "completed", "{job} {log:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    wait_until("nothing of the hook lives", async || bench.alive("ids").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_of_output_reaches_neither_the_memory_nor_the_log() {
    let mut bench = Bench::new().await;
    bench
        .script("shout", "echo begin\nhead -c 1073741824 /dev/zero | tr '\\0' x\nyes 'a line on the other channel' | head -c 50000000 >&2");
    let (job, _, log) = bench.run(json!([before(&["shout"], 300)]), 1).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert!(log.len() < 300, "{} lines", log.len());
    assert!(log.iter().map(String::len).sum::<usize>() < 100_000);
    assert!(log.contains(&"hook shout: begin".to_owned()), "{log:?}");
    let left_out = log.iter().find(|line| line.contains("more bytes of its output were left out"));
    let bytes: u64 = left_out.unwrap().split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(bytes > 1_000_000_000, "{left_out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_program_of_the_folder_never_runs_and_is_not_tried_again() {
    for (name, why) in [
        ("away", "leads out of"),
        ("../outside", "is not the name of a file"),
        ("/bin/true", "is not the name of a file"),
        ("missing", "cannot be found"),
    ] {
        let mut bench = Bench::new().await;
        let outside = bench.path("outside");
        fs::write(&outside, format!("#!/bin/sh\ntouch {}/ran\n", bench.place.path().display())).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../outside", bench.path("hooks/away")).unwrap();
        let (job, backup, _) = bench.run(json!([before(&[name], 20)]), 3).await;
        assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(1)), "{name}: {job}");
        assert!(backup["error"].as_str().unwrap().contains(why), "{name}: {backup}");
        assert!(!bench.path("ran").exists() && bench.stored() == 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_after_the_backup_is_a_warning_on_it() {
    let mut bench = Bench::new().await;
    bench.script("sulk", "echo no; exit 1");
    bench.script("fine", "touch {place}/fine");
    let (job, backup, _) = bench.run(json!([after(&["sulk"]), after(&["fine"])]), 1).await;
    assert_eq!((&job["status"], &backup["status"]), (&json!("completed"), &json!("completed")));
    let warnings = backup["warnings"].to_string();
    assert!(warnings.contains("a hook after the backup failed") && warnings.contains("'sulk' failed (exit status: 1): no"), "{warnings}");
    assert!(bench.path("fine").exists(), "the other hooks run all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_hook_and_the_hooks_after_it_still_undo() {
    let mut bench = Bench::new().await;
    bench.script("hang", "echo $$ > {place}/ids; exec sleep 600");
    bench.script("undo", "echo $DBSNAP_STATUS > {place}/undone");
    let job = bench.queue(json!([before(&["hang"], 600), after(&["undo"])]), 3).await;
    bench.site.begin().await;
    let ids = bench.path("ids");
    wait_until("the hook runs", async || fs::read_to_string(&ids).is_ok_and(|text| !text.trim().is_empty())).await;
    bench.site.api(Method::POST, &format!("/api/jobs/{job}/cancel"), Value::Null).await;
    let job = bench.site.wait(&format!("/api/jobs/{job}")).await;
    assert_eq!(job["status"], "cancelled", "{job}");
    assert_eq!(bench.alive("ids"), Vec::<String>::new());
    assert_eq!(fs::read_to_string(bench.path("undone")).unwrap().trim(), "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_the_facts_and_its_refusal_stops_the_backup() {
    let mut bench = Bench::new().await;
    let sink = Sink::start(&[]).await;
    let hook = |stage: &str| json!({"stage": stage, "url": format!("{}/{stage}?token=s3cret", sink.base)});
    let (job, backup, log) = bench.run(json!([hook("before"), hook("after")]), 1).await;
    assert_eq!(job["status"], "completed", "{job} {log:?}");
    let received = sink.received();
    let facts: Vec<Value> = received.iter().map(|received| serde_json::from_str(&received.body).unwrap()).collect();
    assert_eq!((received[0].method.as_str(), received[0].address.as_str()), ("POST", "/before?token=s3cret"));
    assert_eq!((&facts[0]["stage"], &facts[0]["status"]), (&json!("before"), &json!("running")));
    assert_eq!((&facts[1]["stage"], &facts[1]["status"]), (&json!("after"), &json!("completed")));
    assert_eq!((&facts[1]["backupId"], &facts[1]["rows"], &facts[1]["database"]), (&backup["id"], &json!(40), &json!("shop")));

    let mut bench = Bench::new().await;
    let sink = Sink::start(&[500, 500]).await;
    let (job, backup, log) = bench.run(json!([{"stage": "before", "url": format!("{}/x?token=s3cret", sink.base)}]), 2).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(2)));
    assert!(backup["error"].as_str().unwrap().contains("answered 500") && bench.stored() == 0, "{backup}");
    assert!(!format!("{backup} {log:?}").contains("s3cret"), "what is in an address may be a secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_to_a_metadata_address_is_refused() {
    let mut bench = Bench::new().await;
    let (job, backup, _) = bench.run(json!([{"stage": "before", "url": "http://169.254.169.254/latest/meta-data"}]), 3).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
    assert_eq!(bench.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_for_hooks_commands_are_refused_with_the_reason() {
    let mut bench = Bench::new().await;
    bench.site = Site::idle().await;
    bench.database = bench.site.add_database("shop", 2).await;
    let (job, backup, _) = bench.run(json!([before(&["true"], 20)]), 3).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(1)));
    assert!(backup["error"].as_str().unwrap().contains("HOOKS_DIR is not set"), "{backup}");
}
