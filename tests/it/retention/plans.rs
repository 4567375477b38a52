//! The golden files of tests/fixtures/retention, through the command as a script calls it.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use dbsnap::domain::{
    retention::{Action, Entry, Policy, plan},
    time::Moment,
};
use serde_json::{Value, json};

use crate::cli::Said;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/retention")
}

fn read(path: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// Runs `dbsnap retention plan` on a policy and a history.
fn run(policy: &Value, history: &Value, more: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| {
        let path = folder.path().join(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    };
    let (policy, history) = (write("policy.json", policy), write("history.json", history));
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbsnap"));
    command.env_clear().args(["retention", "plan", "--policy"]).arg(policy).arg("--history").arg(history).args(more);
    command.output().unwrap().into()
}

#[test]
fn every_golden_history_has_its_plan() {
    let mut seen = 0;
    for file in fs::read_dir(fixtures()).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().is_some_and(|name| name == "restic.json") {
            continue;
        }
        let golden = read(&path);
        let days = golden["maxDays"].as_u64().map(|days| days.to_string());
        let mut more = vec!["--json", "--now", golden["now"].as_str().unwrap()];
        if let Some(days) = &days {
            more.extend(["--max-days", days.as_str()]);
        }
        let planned = run(&golden["policy"], &golden["history"], &more).json();
        assert_eq!(planned, golden["plan"], "{}: {}", path.display(), golden["about"]);
        seen += 1;
    }
    assert!(seen >= 12, "only {seen} golden files were found");
}

#[test]
fn what_restic_keeps_of_its_own_test_history_is_kept() {
    let golden = read(&fixtures().join("restic.json"));
    let history: Vec<Entry> = serde_json::from_value(golden["history"].clone()).unwrap();
    let now: Moment = serde_json::from_value(golden["now"].clone()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let policy: Policy = serde_json::from_value(case["policy"].clone()).unwrap();
        let kept: BTreeSet<String> =
            plan(Some(&policy), &history, now, None).into_iter().filter(|one| one.action == Action::Keep).map(|one| one.id).collect();
        let expected: BTreeSet<String> = serde_json::from_value(case["keep"].clone()).unwrap();
        assert_eq!(kept, expected, "{}: {}", case["restic"], case["policy"]);
    }
}

#[test]
fn without_json_the_plan_is_a_table_with_its_sums() {
    let history = json!([
        { "id": "new", "completedAt": "2026-11-20T03:00:00Z", "status": "completed", "sizeBytes": 7, "pinned": false },
        { "id": "old", "completedAt": "2026-11-19T03:00:00Z", "status": "completed", "sizeBytes": 5, "pinned": false },
    ]);
    let said = run(&json!({ "mode": "standard", "keepDaily": 1 }), &history, &["--now", "2026-11-21T00:00:00Z"]).ok();
    assert!(said.out.contains("delete  old  2026-11-19T03:00:00.000Z  no rule keeps it"), "{}", said.out);
    assert!(said.out.ends_with("1 kept, 1 deleted, 5 bytes freed\n"), "{}", said.out);
}

#[test]
fn a_policy_or_history_that_cannot_be_meant_is_refused_by_name() {
    let one = json!([{ "id": "a", "completedAt": "2026-11-20T03:00:00Z", "status": "completed", "sizeBytes": 7, "pinned": false }]);
    let none = json!([]);
    run(&json!({ "mode": "standard" }), &none, &[]).failed(2, "keepDaily");
    run(&json!({ "mode": "size" }), &none, &[]).failed(2, "maxTotalBytes");
    run(&json!({ "mode": "age" }), &none, &[]).failed(2, "maxAgeDays");
    run(&json!({ "mode": "standard", "keepDayly": 3 }), &none, &[]).failed(2, "keepDayly");
    run(&json!({ "mode": "standard", "keepDaily": 1, "timezone": "Europe/Nowhere" }), &none, &[]).failed(2, "Europe/Nowhere");
    let policy = json!({ "mode": "standard", "keepDaily": 1 });
    let twice = json!([one[0], one[0]]);
    run(&policy, &twice, &[]).failed(2, "the backup 'a' twice");
    run(&policy, &json!([{ "id": "a", "completedAt": "yesterday", "status": "completed" }]), &[]).failed(2, "history");
    run(&policy, &json!([{ "id": "a", "completedAt": "2026-11-20T03:00:00Z", "status": "splendid" }]), &[]).failed(2, "splendid");
    let zoneless = json!([one[0], { "id": "b", "completedAt": "2026-11-20T03:00:00", "status": "completed" }]);
    run(&policy, &zoneless, &[])
        .failed(2, "[1].completedAt: '2026-11-20T03:00:00' is no moment with its offset, such as 2026-11-21T03:00:00Z");
    run(&json!({ "mode": "standard", "keepDaily": -1 }), &none, &[]).failed(2, "keepDaily: invalid value");
    run(&json!(["standard", 1]), &none, &[]).failed(2, "a retention policy");
    run(&policy, &one[0], &[]).failed(2, "it must be a list");
    run(&policy, &one, &["--now", "noon"]).failed(2, "noon");
    let nulls =
        json!({ "mode": "standard", "keepDaily": 1, "keepHourly": null, "maxTotalBytes": null, "maxAgeDays": null, "timezone": null });
    assert_eq!(run(&nulls, &one, &["--json"]).json()[0]["action"], "keep", "null is the same as left out");
    assert_eq!(run(&policy, &none, &["--json"]).json(), none);
}
