//! Expressions, zones and days of change: named cases, and a walk through every minute to compare with.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::TZ_VARIANTS;
use proptest::prelude::*;

use super::*;

fn moment(text: &str) -> Moment {
    Moment(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
}

/// The runs in local time with their offset, from the start of `from` on.
#[track_caller]
fn check(cron: &str, zone_name: &str, from: &str, expected: &[&str]) {
    let tz = zone(zone_name).unwrap();
    let runs = Cron::parse(cron).unwrap().next_runs(tz, moment(from), expected.len());
    let shown: Vec<String> = runs.iter().map(|run| run.utc().with_timezone(&tz).format("%m-%dT%H:%M%:z").to_string()).collect();
    assert_eq!(shown, expected, "{cron} in {zone_name}");
}

fn runs_on_day(cron: &str, zone_name: &str, day: &str) -> usize {
    let tz = zone(zone_name).unwrap();
    let day: chrono::NaiveDate = day.parse().unwrap();
    let start = Moment((day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp() - 86_400) * 1000);
    let on_day = |run: &Moment| run.utc().with_timezone(&tz).date_naive() == day;
    Cron::parse(cron).unwrap().next_runs(tz, start, 200).iter().filter(|run| on_day(run)).count()
}

#[test]
fn a_time_that_is_skipped_runs_once_at_the_next_valid_moment() {
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &["03-28T02:30+01:00", "03-29T03:00+02:00", "03-30T02:30+02:00"]);
    check("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", &["03-08T03:00-04:00", "03-09T02:30-04:00"]);
    // Half an hour only: 02:15 is skipped, 02:45 is not.
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["10-04T02:30+11:00", "10-05T02:15+11:00"]);
    check("45 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["10-04T02:45+11:00"]);
    // Midnight itself is skipped.
    check("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", &["11-04T01:00-02:00", "11-05T00:00-02:00"]);
    // A whole day is skipped.
    check("0 9 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", &["12-29T09:00-10:00", "12-31T00:00+14:00", "12-31T09:00+14:00"]);
    check("0 9 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z", &["12-31T00:00+14:00", "12-30T09:00+14:00"]);
    check("30 2 * * *", "Africa/Casablanca", "2025-04-05T00:00:00Z", &["04-05T02:30+00:00", "04-06T03:00+01:00"]);
}

#[test]
fn several_times_in_one_gap_and_a_match_at_its_end_are_one_run() {
    check("0,15,30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &["03-29T03:00+02:00", "03-30T02:00+02:00"]);
    check("0 1,2,3 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", &["03-29T01:00+01:00", "03-29T03:00+02:00", "03-30T01:00+02:00"]);
    check("0 1-4 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", &["03-29T03:00+02:00", "03-29T04:00+02:00"]);
    // Asked for what comes after the moment at the gap's end itself.
    check("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", &["03-30T02:30+02:00"]);
}

#[test]
fn a_time_that_repeats_runs_once_the_first_time() {
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["10-25T02:30+02:00", "10-26T02:30+01:00"]);
    check("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", &["11-01T01:30-04:00", "11-02T01:30-05:00"]);
    check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", &["04-05T01:45+11:00", "04-06T01:45+10:30"]);
    check("0 1,2,3 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", &["10-25T01:00+02:00", "10-25T02:00+02:00", "10-25T03:00+01:00"]);
    // Between the two 02:30, nothing is due any more that day.
    check("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", &["10-26T02:30+01:00"]);
    // A midnight that repeats: the first one.
    check("30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00Z", &["02-17T23:30-02:00", "02-18T23:30-03:00"]);
}

#[test]
fn wildcards_and_steps_keep_their_real_interval() {
    for cron in ["0 * * * *", "0 */1 * * *", "@hourly", "0 0-23/1 * * *"] {
        assert_eq!(runs_on_day(cron, "Europe/Berlin", "2026-10-25"), 25, "{cron}");
        assert_eq!(runs_on_day(cron, "Europe/Berlin", "2026-03-29"), 23, "{cron}");
    }
    assert_eq!(runs_on_day("0 0-23 * * *", "Europe/Berlin", "2026-10-25"), 24, "a list of hours is times of the day");
    assert_eq!(runs_on_day("0 0-23 * * *", "Europe/Berlin", "2026-03-29"), 23, "02:00 moves onto 03:00, which is due anyway");
    assert_eq!(runs_on_day("*/30 * * * *", "Australia/Lord_Howe", "2026-04-05"), 49);
    assert_eq!(runs_on_day("*/30 * * * *", "Australia/Lord_Howe", "2026-10-04"), 47);
    assert_eq!(runs_on_day("0 * * * *", "Asia/Kathmandu", "2026-03-29"), 24);
    check("0 * * * *", "Asia/Kathmandu", "2026-03-29T00:00:00Z", &["03-29T06:00+05:45", "03-29T07:00+05:45"]);
    // A step in the minutes is enough, and so is a list with a step in it.
    check("5-59/10 2 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", &["03-30T02:05+02:00", "03-30T02:15+02:00"]);
    check("0,30-59/15 2 * * *", "Europe/Berlin", "2026-10-25T00:40:00Z", &["10-25T02:45+02:00", "10-25T02:00+01:00", "10-25T02:30+01:00"]);
    check("0 */2 * * *", "Europe/Berlin", "2026-10-24T22:30:00Z", &["10-25T02:00+02:00", "10-25T02:00+01:00", "10-25T04:00+01:00"]);
    check("0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", &["03-29T04:00+02:00"]);
    check("0 * * * *", "Pacific/Apia", "2011-12-30T08:30:00Z", &["12-29T23:00-10:00", "12-31T00:00+14:00"]);
}

#[test]
fn runs_are_moments_in_utc() {
    let runs = Cron::parse("30 2 * * *").unwrap().next_runs(zone("Europe/Berlin").unwrap(), moment("2026-03-28T12:00:00Z"), 2);
    assert_eq!(runs, [moment("2026-03-29T01:00:00Z"), moment("2026-03-30T00:30:00Z")]);
}

#[test]
fn both_day_fields_mean_either_unless_one_begins_with_a_star() {
    check(
        "0 0 13 * 5",
        "UTC",
        "2026-02-06T00:00:00Z",
        &["02-13T00:00+00:00", "02-20T00:00+00:00", "02-27T00:00+00:00", "03-06T00:00+00:00", "03-13T00:00+00:00"],
    );
    check(
        "0 0 1 * mon",
        "UTC",
        "2026-06-01T00:00:00Z",
        &["06-08T00:00+00:00", "06-15T00:00+00:00", "06-22T00:00+00:00", "06-29T00:00+00:00", "07-01T00:00+00:00"],
    );
    check("0 0 */2 * mon", "UTC", "2026-06-01T00:00:00Z", &["06-15T00:00+00:00", "06-29T00:00+00:00", "07-13T00:00+00:00"]);
    check("0 0 1-7 * */7", "UTC", "2026-06-01T00:00:00Z", &["06-07T00:00+00:00", "07-05T00:00+00:00"]);
    check("0 0 31 * *", "UTC", "2026-01-01T00:00:00Z", &["01-31T00:00+00:00", "03-31T00:00+00:00", "05-31T00:00+00:00"]);
    check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["02-29T00:00+00:00"]);
    check("0 12 * * 7", "UTC", "2026-11-20T00:00:00Z", &["11-22T12:00+00:00", "11-29T12:00+00:00"]);
    check(
        "0 12 * * fri-sun",
        "UTC",
        "2026-11-20T00:00:00Z",
        &["11-20T12:00+00:00", "11-21T12:00+00:00", "11-22T12:00+00:00", "11-27T12:00+00:00"],
    );
    check("10/20 5 * JAN,Jul *", "UTC", "2026-11-20T00:00:00Z", &["01-01T05:10+00:00", "01-01T05:30+00:00", "01-01T05:50+00:00"]);
}

/// Each of these is read differently by one of two other implementations (cronsim, croniter), and was looked up by hand.
#[test]
fn what_others_disagree_about_is_as_it_was_looked_up() {
    // The gap ends at 00:00, so 00:28 is there.
    check(
        "28 */3,*/4 * * *",
        "Asia/Pyongyang",
        "2018-05-04T12:00:00Z",
        &["05-04T21:28+08:30", "05-05T00:28+09:00", "05-05T03:28+09:00", "05-05T04:28+09:00"],
    );
    check("56,21-48/11 16,0 29 * Tue", "Asia/Tehran", "2022-03-20T17:53:00Z", &["03-22T16:21+04:30", "03-22T16:32+04:30"]);
    check("56,21 16,0 29 * Tue", "Asia/Tehran", "2022-03-20T17:53:00Z", &["03-22T01:00+04:30", "03-22T16:21+04:30", "03-22T16:56+04:30"]);
    check(
        "35 1-5/6 17-29 10 *",
        "Antarctica/Troll",
        "2026-10-24T05:06:00Z",
        &["10-25T01:35+02:00", "10-25T01:35+00:00", "10-26T01:35+00:00"],
    );
    check("35 1 17-29 10 *", "Antarctica/Troll", "2026-10-24T05:06:00Z", &["10-25T01:35+02:00", "10-26T01:35+00:00"]);
    check(
        "*/14,55 20,15,11 * * *",
        "Asia/Kathmandu",
        "1985-12-31T18:28:00Z",
        &["01-01T11:00+05:45", "01-01T11:14+05:45", "01-01T11:28+05:45"],
    );
    check("* * 6 * 3-thu,2-TUE/1,4", "Europe/Berlin", "2026-10-25T08:43:00Z", &["10-27T00:00+01:00", "10-27T00:01+01:00"]);
    check(
        "32-58/17 8-22/7 10-10/5 9,9 *",
        "Asia/Tehran",
        "2022-09-10T18:00:00Z",
        &["09-10T22:32+04:30", "09-10T22:49+04:30", "09-10T08:32+03:30"],
    );
    check("0 0 29 2 *", "UTC", "2096-10-02T00:00:00Z", &["02-29T00:00+00:00", "02-29T00:00+00:00"]);
    check("45 2 * * *", "Pacific/Chatham", "2026-09-25T12:00:00Z", &["09-26T02:45+12:45", "09-27T03:45+13:45", "09-28T02:45+13:45"]);
    check(
        "*/15 2 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T11:00:00Z",
        &[
            "04-05T02:00+10:30",
            "04-05T02:15+10:30",
            "04-05T02:30+10:30",
            "04-05T02:45+10:30",
            "04-06T02:00+10:30",
            "04-06T02:15+10:30",
            "04-06T02:30+10:30",
        ],
    );
    check(
        "\t 00  007 01 JAN,Mar-APR/2 * ",
        "Asia/Kolkata",
        "2026-11-20T00:00:00Z",
        &["01-01T07:00+05:30", "03-01T07:00+05:30", "01-01T07:00+05:30"],
    );
    check("0 0 * * 5-7", "UTC", "2026-11-20T00:00:00Z", &["11-21T00:00+00:00", "11-22T00:00+00:00", "11-27T00:00+00:00"]);
    check("0 0 * * sun-mon", "UTC", "2026-11-20T00:00:00Z", &["11-22T00:00+00:00", "11-23T00:00+00:00", "11-29T00:00+00:00"]);
}

#[test]
fn what_is_not_a_cron_expression_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "0 of the five fields"),
        ("* * * *", "4 of the five fields"),
        ("0 0 * * * *", "6 fields: seconds"),
        ("60 * * * *", "minute '60' is not a number from 0 to 59"),
        ("0 24 * * *", "hour '24'"),
        ("0 0 0 * *", "day of month '0'"),
        ("0 0 * 13 *", "month '13'"),
        ("0 0 * * 8", "day of week '8'"),
        ("0 0 * * jan", "a number from 0 to 7 or a name from sun to sat"),
        ("0 mon * * *", "hour 'mon'"),
        ("0 0 * janfeb *", "month 'janfeb'"),
        ("*/0 * * * *", "'0' is not a step"),
        ("*/61 * * * *", "'61' is not a step"),
        ("0 22-6 * * *", "22-6 ends before it begins: write 22-23,0-6"),
        ("0 0 * * FRI-MON", "FRI-MON ends before it begins: write 5-6,0-1"),
        ("0 0 * * 5-1", "5-1 ends before it begins: write 5-6,0-1"),
        ("0 0 * nov-feb/2 *", "nov-feb ends before it begins: write 11-12,1-2"),
        ("1,,2 * * * *", "minute ''"),
        ("1- * * * *", "minute ''"),
        ("-5 * * * *", "minute ''"),
        ("+5 * * * *", "minute '+5'"),
        ("0 0 L * *", "day of month 'L'"),
        ("0 0 ? * *", "day of month '?'"),
        ("0 0 * * 5#2", "day of week '5#2'"),
        ("@reboot", "no such name"),
        ("@every 5m", "no such name"),
        ("0 0 30 2 *", "no month has such a day"),
        ("0 0 31 4,6,9,11 *", "no month has such a day"),
        ("0 0 31 feb */2", "no month has such a day"),
        ("99999999999999999999 * * * *", "minute '9999"),
    ] {
        let error = Cron::parse(text).expect_err(text);
        assert!(error.to_string().contains(reason), "{text}: {error}");
        assert_eq!(error.kind.code(), "VALIDATION_ERROR");
    }
    assert!(Cron::parse("0 0 30 2 1").is_ok(), "it is due on Mondays in February");
    assert!(zone("Mars/Olympus").unwrap_err().to_string().contains("IANA"));
}

#[test]
fn the_type_of_its_backups_is_its_period() {
    for (text, kind) in [
        ("@hourly", BackupType::Hourly),
        ("*/5 * * * *", BackupType::Hourly),
        ("0 9,21 * * *", BackupType::Hourly),
        ("@daily", BackupType::Daily),
        ("@midnight", BackupType::Daily),
        ("30 2 * * 1-5", BackupType::Daily),
        ("0 0 */2 * *", BackupType::Daily),
        ("@weekly", BackupType::Weekly),
        ("0 3 * * sat", BackupType::Weekly),
        ("@monthly", BackupType::Monthly),
        ("0 3 1,15 * *", BackupType::Monthly),
        ("0 3 1 */3 *", BackupType::Monthly),
        ("@yearly", BackupType::Yearly),
        ("@annually", BackupType::Yearly),
        ("0 0 29 2 *", BackupType::Yearly),
    ] {
        assert_eq!(Cron::parse(text).unwrap().backup_type(), kind, "{text}");
    }
}

#[test]
fn a_pattern_that_only_ever_falls_into_gaps_ends_and_extreme_moments_do_not_panic() {
    let cron = Cron::parse("*/30 2 8-14 3 */7").unwrap();
    assert!(cron.next_after(zone("America/New_York").unwrap(), moment("2026-01-01T00:00:00Z")).is_none(), "02:30 never is on that day");
    for extreme in [i64::MIN, i64::MAX] {
        assert!(cron.next_after(Tz::UTC, Moment(extreme)).is_none());
    }
    let leap = Cron::parse("0 0 */29 2 */7").unwrap();
    let next = leap.next_after(Tz::UTC, moment("2076-03-01T00:00:00Z")).unwrap();
    assert_eq!(next.to_string(), "2082-02-01T00:00:00.000Z");
}

#[test]
fn no_zone_changes_twice_within_the_step_that_changes_are_looked_for_in() {
    let (start, end) = (moment("2010-01-01T00:00:00Z").0 / 1000, moment("2032-01-01T00:00:00Z").0 / 1000);
    for tz in TZ_VARIANTS {
        let mut last = i64::MIN / 2;
        let mut offset = zone::offset(tz, start);
        for at in (start..end).step_by(3 * 3600) {
            let now = zone::offset(tz, at);
            if now != offset {
                assert!(at - last > 2 * zone::STEP, "{tz} changes at {last} and {at}");
                (last, offset) = (at, now);
            }
        }
    }
}

/// Walks through real time minute by minute; shares nothing with the code above but the zone's offsets.
fn walked(cron: &str, tz: Tz, after: Moment, until: Moment) -> Vec<Moment> {
    let fields: Vec<&str> = cron.split(' ').collect();
    let fixed = !fields[..2].iter().any(|field| field.contains(['*', '/']));
    let due = |local: NaiveDateTime| {
        let day = holds(fields[2], local.day(), 1, 31);
        let weekday = local.weekday().num_days_from_sunday();
        let weekday = holds(fields[4], weekday, 0, 7) || weekday == 0 && holds(fields[4], 7, 0, 7);
        let both = fields[2].starts_with('*') || fields[4].starts_with('*');
        holds(fields[0], local.minute(), 0, 59)
            && holds(fields[1], local.hour(), 0, 23)
            && holds(fields[3], local.month(), 1, 12)
            && if both { day && weekday } else { day || weekday }
    };
    let local_at = |minute: i64| Moment(minute * 60_000).utc().with_timezone(&tz).naive_local();
    let mut found = Vec::new();
    // The latest local time that clocks have shown so far.
    let mut shown = local_at(after.0 / 60_000 - 2 * 1440);
    for minute in after.0 / 60_000 - 2 * 1440..=until.0 / 60_000 {
        let local = local_at(minute);
        let here = if fixed {
            // Every local minute that was not shown before and has been reached or passed now.
            let passed = (1..=(local - shown).num_minutes()).any(|ahead| due(shown + TimeDelta::minutes(ahead)));
            shown = shown.max(local);
            passed
        } else {
            due(local)
        };
        let at = Moment(minute * 60_000);
        if here && at > after && at <= until {
            found.push(at);
        }
    }
    found
}

fn holds(field: &str, value: u32, least: u32, most: u32) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step.parse::<u32>().unwrap())));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
            None if step.is_some() => (range.parse().unwrap(), most),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        (first..=last).contains(&value) && (value - first).is_multiple_of(step.unwrap_or(1))
    })
}

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = least..=most;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (1..=most).prop_map(|step| format!("*/{step}")),
        4 => value.clone().prop_map(|value| value.to_string()),
        2 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        2 => (value.clone(), value.clone(), 1..=most).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
        2 => (value.clone(), value.clone(), value).prop_map(|(a, b, c)| format!("{a},{b},{c}")),
    ]
}

/// Zones with their days of change.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Africa/Casablanca", "2025-02-23T02:00:00Z"),
    ("Africa/Casablanca", "2025-04-06T02:00:00Z"),
    ("America/Havana", "2026-03-08T05:00:00Z"),
    ("Asia/Beirut", "2026-03-28T22:00:00Z"),
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),
    ("America/Caracas", "2016-05-01T07:00:00Z"),
    ("Asia/Pyongyang", "2018-05-04T15:00:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
    ("Pacific/Kwajalein", "1993-08-20T12:00:00Z"),
    ("UTC", "2026-02-28T23:00:00Z"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn around_changes_it_agrees_with_a_walk_through_every_minute(
        cron in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)),
        change in 0..CHANGES.len(),
        lead in 0_i64..3 * 1440,
    ) {
        let cron = format!("{} {} {} {} {}", cron.0, cron.1, cron.2, cron.3, cron.4);
        let Ok(parsed) = Cron::parse(&cron) else { return Ok(()) };
        let (name, at) = CHANGES[change];
        let tz = zone(name).unwrap();
        let after = moment(at).plus(-lead * 60_000);
        let until = moment(at).plus(2 * 86_400_000);
        let runs: Vec<Moment> = std::iter::successors(parsed.next_after(tz, after), |last| parsed.next_after(tz, *last))
            .take_while(|run| *run <= until)
            .collect();
        prop_assert_eq!(runs, walked(&cron, tz, after, until), "{} in {} after {}", cron, name, after);
    }

    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_comes_back_later(text in "[-0-9*/,@a-z ]{0,30}", at in -2_000_000_000_000_i64..8_000_000_000_000) {
        if let Ok(cron) = Cron::parse(&text)
            && let Some(next) = cron.next_after(Tz::Europe__London, Moment(at))
        {
            prop_assert!(next > Moment(at));
        }
    }
}

#[test]
fn over_whole_years_it_agrees_with_a_walk_through_every_minute() {
    let (after, until) = (moment("2025-12-31T12:00:00Z"), moment("2027-01-02T00:00:00Z"));
    for name in ["America/New_York", "Australia/Lord_Howe"] {
        for cron in ["30 2 * * *", "0 * * * *", "0 0 1,15 * 1"] {
            let tz = zone(name).unwrap();
            let parsed = Cron::parse(cron).unwrap();
            let runs: Vec<Moment> = std::iter::successors(parsed.next_after(tz, after), |last| parsed.next_after(tz, *last))
                .take_while(|run| *run <= until)
                .collect();
            assert_eq!(runs, walked(cron, tz, after, until), "{cron} in {name}");
        }
    }
}
