//! `dbsnap schedule next`, as scripts call it.

use serde_json::json;

use super::Place;

#[test]
fn the_next_runs_of_an_expression_are_printed_as_utc_moments() {
    let place = Place::new();
    let next = |cron: &str, zone: &str, from: &str, count: &str| {
        place.run(&["schedule", "next", "--cron", cron, "--tz", zone, "--from", from, "--count", count, "--json"]).json()
    };
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2"), json!(["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]));
    assert_eq!(next("@hourly", "Europe/Berlin", "2026-10-25T00:00:00+02:00", "24").as_array().unwrap().len(), 24);
    let said = place
        .run(&["schedule", "next", "--cron", "0 9 * * mon", "--tz", "America/New_York", "--from", "2026-03-07T00:00:00Z", "--count", "1"])
        .ok();
    assert_eq!(said.out, "2026-03-09T13:00:00Z  Mon 2026-03-09 09:00 EDT\n");
}

#[test]
fn an_unknown_zone_a_bad_expression_and_a_bad_moment_are_refused_with_the_reason() {
    let place = Place::new();
    for (cron, zone, from, words) in [
        ("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", "no month has such a day"),
        ("0 0 * * * *", "UTC", "2026-01-01T00:00:00Z", "6 fields"),
        ("@reboot", "UTC", "2026-01-01T00:00:00Z", "no such name"),
        ("@daily", "Europe/Atlantis", "2026-01-01T00:00:00Z", "'Europe/Atlantis' is not a known time zone"),
        ("@daily", "UTC", "yesterday", "is not a moment"),
        ("@daily", "UTC", "2026-01-01T00:00:00", "write it with its zone"),
    ] {
        place.run(&["schedule", "next", "--cron", cron, "--tz", zone, "--from", from]).failed(2, words);
    }
    place.run(&["schedule", "next", "--cron", "@daily", "--count", "0"]).failed(2, "0 is not in 1..=10000");
}
