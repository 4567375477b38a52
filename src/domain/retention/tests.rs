//! What no history and no policy may break, and every plan held against a naive reading of the rules.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400_000;
/// Zones with the odd cases: clocks back over midnight (St. John's until 2011), half an hour of summer time (Lord Howe), a
/// day that never was (Apia), clocks forward at midnight (Beirut), none at all.
const ZONES: &[Tz] = &[Tz::UTC, Tz::Europe__Berlin, Tz::America__St_Johns, Tz::Australia__Lord_Howe, Tz::Pacific__Apia, Tz::Asia__Beirut];

fn moment(text: &str) -> Moment {
    serde_json::from_value(serde_json::Value::String(text.into())).unwrap()
}

fn policy(mode: RetentionMode) -> Policy {
    Policy {
        mode,
        keep_hourly: 0,
        keep_daily: 0,
        keep_weekly: 0,
        keep_monthly: 0,
        keep_yearly: 0,
        max_total_bytes: None,
        max_age_days: None,
        timezone: Tz::UTC,
    }
}

fn good(id: &str, at: &str) -> Entry {
    let completed_at = Some(moment(at));
    Entry { id: id.into(), completed_at, status: EntryStatus::Completed, size_bytes: 10, pinned: false, in_use: false, held: None }
}

fn kept(decisions: &[Decision]) -> BTreeSet<String> {
    decisions.iter().filter(|decision| decision.action == Action::Keep).map(|decision| decision.id.clone()).collect()
}

fn kept_of(policy: &Policy, history: &[Entry], now: &str) -> Vec<String> {
    kept(&plan(Some(policy), history, moment(now), None)).into_iter().collect()
}

/// The rules once more, in another shape: buckets first, their newest next, then the newest buckets. `None` when nothing
/// but the plan's own promises (last good, pins, damage) says anything.
fn naive_rules(policy: &Policy, history: &[Entry], now: Moment) -> BTreeSet<String> {
    let mut good: Vec<&Entry> =
        history.iter().filter(|entry| entry.status == EntryStatus::Completed && entry.completed_at.unwrap() <= now).collect();
    good.sort_by_key(|entry| (entry.completed_at.unwrap(), entry.id.clone()));
    let patterns = [
        ("%Y-%m-%d %H", policy.keep_hourly),
        ("%Y-%m-%d", policy.keep_daily),
        ("%G-W%V", policy.keep_weekly),
        ("%Y-%m", policy.keep_monthly),
        ("%Y", policy.keep_yearly),
    ];
    let mut standard = BTreeSet::new();
    for (pattern, count) in patterns {
        let mut newest: BTreeMap<String, &Entry> = BTreeMap::new();
        for entry in &good {
            let local = entry.completed_at.unwrap().utc().with_timezone(&policy.timezone);
            newest.insert(local.format(pattern).to_string(), entry);
        }
        let mut newest: Vec<_> = newest.into_values().map(|entry| (entry.completed_at.unwrap(), entry.id.clone())).collect();
        newest.sort();
        standard.extend(newest.into_iter().rev().take(count as usize).map(|(_, id)| id));
    }
    let mut chosen: Vec<&Entry> = good.iter().rev().copied().collect();
    let (by_size, by_age) = match policy.mode {
        RetentionMode::Standard => (false, false),
        RetentionMode::Size => (true, false),
        RetentionMode::Age => (false, true),
        RetentionMode::Hybrid => (true, true),
    };
    if matches!(policy.mode, RetentionMode::Standard | RetentionMode::Hybrid) {
        chosen.retain(|entry| standard.contains(&entry.id));
    }
    let first = chosen.first().map(|entry| entry.id.clone());
    if let (true, Some(days)) = (by_age, policy.max_age_days) {
        chosen.retain(|entry| now.0 - entry.completed_at.unwrap().0 <= i64::from(days) * DAY);
    }
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for (index, entry) in chosen.iter().enumerate() {
        let total: u64 = chosen[..=index].iter().map(|entry| entry.size_bytes).sum();
        if !by_size || policy.max_total_bytes.is_none_or(|limit| total <= limit) {
            ids.insert(entry.id.clone());
        }
    }
    ids.extend(first);
    ids
}

/// All that is kept: by rule within the hard limit, and what the plan promises whatever the rules say.
fn naive(policy: &Policy, history: &[Entry], now: Moment, limit: Option<u32>) -> BTreeSet<String> {
    let mut ids = naive_rules(policy, history, now);
    if let Some(days) = limit {
        let young = |entry: &&Entry| entry.completed_at.is_none_or(|at| now.0 - at.0 <= i64::from(days) * DAY);
        let young: BTreeSet<_> = history.iter().filter(young).map(|entry| &entry.id).collect();
        ids.retain(|id| young.contains(id));
    }
    let past = |entry: &&Entry| entry.completed_at.is_some_and(|at| at <= now);
    let good = |entry: &&Entry| entry.status == EntryStatus::Completed;
    let last = history.iter().filter(good).filter(past).max_by_key(|entry| (entry.completed_at, entry.id.clone()));
    ids.extend(last.map(|entry| entry.id.clone()));
    let damaged_alone = !history.iter().any(|entry| good(&entry));
    for entry in history {
        let active = matches!(entry.status, EntryStatus::Queued | EntryStatus::Running);
        let alone = entry.status == EntryStatus::Corrupt && damaged_alone;
        if entry.pinned || entry.in_use || active || alone || entry.completed_at.is_some_and(|at| at > now) {
            ids.insert(entry.id.clone());
        }
    }
    ids
}

/// Around the changes of clocks of every zone above, and years apart.
fn times() -> impl Strategy<Value = i64> {
    let anchors = ["2026-10-25T00:30:00Z", "2026-03-29T00:30:00Z", "2010-11-07T02:31:00Z", "2026-04-04T14:45:00Z", "2011-12-30T09:59:00Z"];
    let anchors: Vec<i64> = anchors.iter().map(|text| moment(text).0).collect();
    prop_oneof![
        (prop::sample::select(anchors.clone()), -30i64..30, -4i64..4).prop_map(|(at, quarters, days)| at + quarters * 900_000 + days * DAY),
        (prop::sample::select(anchors), -800i64..800).prop_map(|(at, days)| at + days * DAY),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Entry>> {
    let status = prop_oneof![
        8 => Just(EntryStatus::Completed),
        1 => prop::sample::select(EntryStatus::ALL),
    ];
    let entry = (times(), status, 0u64..100, prop::bool::weighted(0.08), prop::bool::weighted(0.05));
    prop::collection::vec(entry, 0..60).prop_map(|all| {
        let entries = all.into_iter().enumerate().map(|(index, (at, status, size_bytes, pinned, in_use))| Entry {
            id: format!("b{:03}", (index * 37) % 101),
            completed_at: Some(Moment(at)),
            status,
            size_bytes,
            pinned,
            in_use,
            held: None,
        });
        entries.collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let keeps = prop::collection::vec(prop_oneof![Just(0u32), 1u32..6, 1u32..40], 5);
    let size = prop::option::of(0u64..2000);
    let age = prop::option::of(0u32..900);
    (prop::sample::select(RetentionMode::ALL), keeps, size, age, prop::sample::select(ZONES)).prop_map(
        |(mode, keeps, size, age, timezone)| Policy {
            mode,
            keep_hourly: keeps[0],
            keep_daily: keeps[1].max(1),
            keep_weekly: keeps[2],
            keep_monthly: keeps[3],
            keep_yearly: keeps[4],
            max_total_bytes: if mode == RetentionMode::Size { Some(size.unwrap_or(700)) } else { size },
            max_age_days: if mode == RetentionMode::Age { Some(age.unwrap_or(30)) } else { age },
            timezone,
        },
    )
}

fn moments() -> impl Strategy<Value = Moment> {
    times().prop_map(|at| Moment(at + DAY * 3))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_plan_is_what_the_rules_say_read_naively(policy in policies(), history in histories(), now in moments(), limit in prop::option::of(0u32..500)) {
        prop_assert_eq!(kept(&plan(Some(&policy), &history, now, limit)), naive(&policy, &history, now, limit));
    }

    #[test]
    fn the_last_good_backup_pins_and_what_is_read_are_never_deleted(policy in policies(), history in histories(), now in moments(), limit in prop::option::of(0u32..5)) {
        let decisions = plan(Some(&policy), &history, now, limit);
        let kept = kept(&decisions);
        prop_assert_eq!(decisions.len(), history.len());
        prop_assert!(decisions.iter().all(|decision| !decision.reasons.is_empty()));
        let any_good = history.iter().any(|entry| entry.status == EntryStatus::Completed);
        if any_good {
            prop_assert!(history.iter().any(|entry| entry.status == EntryStatus::Completed && kept.contains(&entry.id)));
        }
        for entry in &history {
            let needed = entry.pinned || entry.in_use || !matches!(entry.status, EntryStatus::Completed | EntryStatus::Corrupt
                | EntryStatus::Failed | EntryStatus::Cancelled | EntryStatus::Interrupted);
            prop_assert!(!needed || kept.contains(&entry.id));
            prop_assert!(any_good || entry.status != EntryStatus::Corrupt || kept.contains(&entry.id));
        }
    }

    #[test]
    fn a_second_run_at_the_same_time_deletes_nothing_more(policy in policies(), history in histories(), now in moments(), limit in prop::option::of(0u32..500)) {
        let first = kept(&plan(Some(&policy), &history, now, limit));
        let left: Vec<Entry> = history.into_iter().filter(|entry| first.contains(&entry.id)).collect();
        prop_assert_eq!(kept(&plan(Some(&policy), &left, now, limit)), first);
    }

    #[test]
    fn the_order_of_the_history_changes_no_decision(policy in policies(), history in histories(), now in moments(), seed in 1usize..50) {
        let mut turned = history.clone();
        turned.reverse();
        if !turned.is_empty() {
            let by = seed % turned.len();
            turned.rotate_left(by);
        }
        let straight: BTreeMap<_, _> = plan(Some(&policy), &history, now, Some(400)).into_iter().map(|one| (one.id.clone(), one)).collect();
        let decisions = plan(Some(&policy), &turned, now, Some(400));
        for (decision, entry) in decisions.iter().zip(&turned) {
            prop_assert_eq!(&decision.id, &entry.id);
            prop_assert_eq!(decision, &straight[&decision.id]);
        }
    }

    /// Of a hybrid policy that holds for its limits only: with more kept by standard, the size is used up by newer ones.
    #[test]
    fn a_more_generous_policy_never_keeps_less(policy in policies(), history in histories(), now in moments(), which in 0usize..8, more in 1u32..20) {
        let mut generous = policy.clone();
        let sized = policy.mode == RetentionMode::Hybrid && policy.max_total_bytes.is_some();
        match which {
            0 if !sized => generous.keep_hourly += more,
            1 if !sized => generous.keep_daily += more,
            2 if !sized => generous.keep_weekly += more,
            3 if !sized => generous.keep_monthly += more,
            4 if !sized => generous.keep_yearly += more,
            5 => generous.max_total_bytes = generous.max_total_bytes.map(|bytes| bytes + u64::from(more)),
            6 => generous.max_age_days = generous.max_age_days.map(|days| days + more),
            _ => generous.timezone = policy.timezone,
        }
        let strict = kept(&plan(Some(&policy), &history, now, None));
        prop_assert!(strict.is_subset(&kept(&plan(Some(&generous), &history, now, None))));
        prop_assert!(kept(&plan(Some(&policy), &history, now, Some(30))).is_subset(&kept(&plan(Some(&policy), &history, now, Some(30 + more)))));
    }

    /// Standard and size count from the newest good backup: no clock makes them delete more.
    #[test]
    fn a_clock_that_jumps_ahead_deletes_nothing_by_count_or_size(policy in policies(), history in histories(), years in 1i64..200) {
        let mode = if policy.max_total_bytes.is_some() { RetentionMode::Size } else { RetentionMode::Standard };
        let policy = Policy { mode, ..policy };
        let now = history.iter().filter_map(|entry| entry.completed_at).max().unwrap_or(Moment(0));
        prop_assert_eq!(plan(Some(&policy), &history, now, None), plan(Some(&policy), &history, now.plus(years * 365 * DAY), None));
    }

    /// What was made "later" than a clock that went back is kept, and costs no older one its place.
    #[test]
    fn a_clock_that_went_back_costs_no_backup_its_place(policy in policies(), history in histories(), now in moments()) {
        let past: Vec<Entry> = history.iter().filter(|entry| entry.completed_at.unwrap() <= now).cloned().collect();
        let all = kept(&plan(Some(&policy), &history, now, None));
        let alone_damaged = !past.iter().any(|entry| entry.status == EntryStatus::Completed);
        for entry in history.iter().filter(|entry| entry.completed_at.unwrap() > now) {
            prop_assert!(all.contains(&entry.id));
        }
        for id in kept(&plan(Some(&policy), &past, now, None)) {
            let entry = past.iter().find(|entry| entry.id == id).unwrap();
            prop_assert!(all.contains(&id) || alone_damaged && entry.status == EntryStatus::Corrupt);
        }
    }
}

#[test]
fn an_empty_history_has_an_empty_plan() {
    assert_eq!(plan(Some(&policy(RetentionMode::Standard)), &[], moment("2026-01-01T00:00:00Z"), Some(1)), []);
}

#[test]
fn the_hour_that_comes_twice_is_one_hour_of_the_clock() {
    let policy = Policy { keep_hourly: 10, timezone: Tz::Europe__Berlin, ..policy(RetentionMode::Standard) };
    let history = ["2026-10-25T00:10:00Z", "2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z", "2026-10-25T02:10:00Z"];
    let history: Vec<_> = history.iter().enumerate().map(|(index, at)| good(&index.to_string(), at)).collect();
    let decisions = plan(Some(&policy), &history, moment("2026-10-26T00:00:00Z"), None);
    assert_eq!(kept(&decisions), ["2", "3"].map(String::from).into());
    assert_eq!(decisions[2].reasons, ["hourly 2 of 10 (2026-10-25 02:00)"]);
    assert_eq!(decisions[1].reasons, ["no rule keeps it"]);
    assert_eq!(decisions[0].reasons, ["no rule keeps it"]);
}

#[test]
fn days_are_days_of_the_policys_zone() {
    let history = [good("a", "2026-11-18T22:30:00Z"), good("b", "2026-11-18T23:30:00Z"), good("c", "2026-11-19T10:00:00Z")];
    let utc = Policy { keep_daily: 2, ..policy(RetentionMode::Standard) };
    assert_eq!(kept_of(&utc, &history, "2026-11-20T00:00:00Z"), ["b", "c"]);
    let berlin = Policy { timezone: Tz::Europe__Berlin, ..utc };
    assert_eq!(kept_of(&berlin, &history, "2026-11-20T00:00:00Z"), ["a", "c"]);
}

#[test]
fn a_week_belongs_to_the_year_of_its_thursday() {
    let policy = Policy { keep_weekly: 2, ..policy(RetentionMode::Standard) };
    // Monday 2025-12-29 to Sunday 2026-01-04 is 2026-W01.
    let history = [good("a", "2025-12-28T12:00:00Z"), good("b", "2025-12-29T12:00:00Z"), good("c", "2026-01-04T12:00:00Z")];
    let decisions = plan(Some(&policy), &history, moment("2026-01-05T00:00:00Z"), None);
    assert_eq!(decisions[2].reasons, ["the newest good backup", "weekly 1 of 2 (2026-W01)"]);
    assert_eq!(decisions[0].reasons, ["weekly 2 of 2 (2025-W52)"]);
    assert_eq!(decisions[1].action, Action::Delete);
}

#[test]
fn a_day_that_comes_twice_where_clocks_go_back_over_midnight_is_one_day() {
    // St. John's, 2010-11-07 00:01 became 2010-11-06 23:01: 7 November, then 6 November, then 7 November.
    let policy = Policy { keep_daily: 3, timezone: Tz::America__St_Johns, ..policy(RetentionMode::Standard) };
    let history = [good("a", "2010-11-07T02:30:30Z"), good("b", "2010-11-07T03:00:00Z"), good("c", "2010-11-07T03:45:00Z")];
    assert_eq!(kept_of(&policy, &history, "2010-11-08T00:00:00Z"), ["b", "c"]);
}

#[test]
fn a_long_outage_deletes_nothing_by_count_and_not_the_last_by_age() {
    let history = [good("a", "2025-01-01T00:00:00Z"), good("b", "2025-01-02T00:00:00Z")];
    let standard = Policy { keep_daily: 7, ..policy(RetentionMode::Standard) };
    assert_eq!(kept_of(&standard, &history, "2026-01-01T00:00:00Z"), ["a", "b"]);
    let age = Policy { max_age_days: Some(30), ..policy(RetentionMode::Age) };
    assert_eq!(kept_of(&age, &history, "2026-01-01T00:00:00Z"), ["b"]);
}

#[test]
fn a_backup_exactly_as_old_as_the_limit_is_kept() {
    let age = Policy { max_age_days: Some(1), ..policy(RetentionMode::Age) };
    let history = [good("a", "2026-01-01T00:00:00Z"), good("b", "2025-12-31T23:59:59.999Z"), good("c", "2026-01-01T12:00:00Z")];
    assert_eq!(kept_of(&age, &history, "2026-01-02T00:00:00Z"), ["a", "c"]);
}

#[test]
fn failed_backups_count_for_nothing_and_one_backup_always_stays() {
    let size = Policy { max_total_bytes: Some(1), ..policy(RetentionMode::Size) };
    let failed = Entry { status: EntryStatus::Failed, ..good("b", "2026-01-02T00:00:00Z") };
    let history = [good("a", "2026-01-01T00:00:00Z"), failed];
    let decisions = plan(Some(&size), &history, moment("2026-01-03T00:00:00Z"), None);
    assert_eq!(decisions[0].reasons, ["the newest good backup"]);
    assert_eq!(decisions[1].action, Action::Delete);
    assert_eq!(decisions[1].reasons, ["failed: it holds no data and counts for nothing"]);
}

#[test]
fn without_a_policy_only_the_hard_limit_deletes() {
    let history = [good("a", "2025-01-01T00:00:00Z"), good("b", "2025-01-02T00:00:00Z"), good("c", "2026-01-02T00:00:00Z")];
    let now = moment("2026-01-03T00:00:00Z");
    assert_eq!(kept(&plan(None, &history, now, None)).len(), 3);
    let decisions = plan(None, &history, now, Some(365));
    assert_eq!(kept(&decisions), ["c".to_owned()].into());
    assert_eq!(decisions[0].reasons, ["older than the limit of 365 days for all backups"]);
}

#[test]
fn a_mode_that_lacks_what_it_goes_by_is_refused_by_name() {
    let field = |policy: Policy| policy.check().unwrap_err().fields[0].0.clone();
    assert_eq!(field(policy(RetentionMode::Standard)), "keepDaily");
    assert_eq!(field(Policy { max_age_days: Some(3), ..policy(RetentionMode::Hybrid) }), "keepDaily");
    assert_eq!(field(policy(RetentionMode::Size)), "maxTotalBytes");
    assert_eq!(field(policy(RetentionMode::Age)), "maxAgeDays");
    assert!(Policy { keep_yearly: 1, ..policy(RetentionMode::Standard) }.check().is_ok());
}
