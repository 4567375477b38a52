//! `dbsnap diff`, with no server and no catalogue.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Place, url};

/// Two backups of a database that changed between them, and the database.
fn two(place: &Place) -> (String, String, std::path::PathBuf) {
    let notes = place.notes("notes.db");
    let back_up = |to: &str| place.back_up(&notes, to, &["--artifacts", "dump,snapshot"]).display().to_string();
    let before = back_up("before");
    let change = "UPDATE notes SET body = 'changed' || char(27) WHERE id IN (5, 6); DELETE FROM notes WHERE id = 7; INSERT INTO notes (id) VALUES (2000)";
    rusqlite::Connection::open(&notes).unwrap().execute_batch(change).unwrap();
    let after = back_up("after");
    (before, after, notes)
}

#[test]
fn files_and_a_live_database_are_compared_and_the_exit_code_says_whether_they_differ() {
    let place = Place::new();
    let (before, after, notes) = two(&place);
    let live = format!("live:{}", url(&notes));
    let said = place.run(&["diff", &before, &after, "--rows"]).failed(1, "notes: 1 added, 1 removed, 2 changed (body 2)");
    assert!(said.out.contains("unchanged") && said.out.contains("~ 5  body: note number 5 → changed\\u{1b}"), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'), "no colours in a pipe, and no control characters of values: {}", said.out);
    let few = place.run(&["diff", &before, &after, "--rows", "--limit", "1"]);
    assert!(few.out.contains("and 3 more"), "{}", few.out);
    place.run(&["diff", &before, &live]).failed(1, "2 changed (body 2)");
    assert!(place.run(&["diff", &after, &live]).ok().out.contains("They are equal."));
    assert!(place.run(&["diff", &after, &after]).ok().out.contains("They are equal."));

    // Snapshot files say the same as their manifests.
    let snapshot = |manifest: &str| {
        let json: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        let artifacts = json["artifacts"].as_array().unwrap();
        let found = artifacts.iter().find(|artifact| artifact["kind"] == "snapshot").unwrap();
        Path::new(manifest).with_file_name(found["file"].as_str().unwrap()).display().to_string()
    };
    let said = place.run(&["diff", &snapshot(&before), &snapshot(&after), "--json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let mut keys: Vec<_> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["equal", "provenance", "schema", "tables"]);
    let notes = json["tables"].as_array().unwrap().iter().find(|table| table["name"] == "notes").unwrap();
    assert_eq!(["added", "removed", "changed", "unchanged"].map(|kind| notes[kind].as_u64().unwrap()), [1, 1, 2, 997]);
    assert_eq!((&json["equal"], &json["provenance"]["before"]["kind"]), (&Value::from(false), &Value::from("snapshot")));
}

#[test]
fn snapshots_in_one_folder_are_under_one_key_and_skip_what_is_equal() {
    let place = Place::new();
    let notes = place.notes("notes.db");
    let [one, two] = ["one.snap", "two.snap"].map(|name| place.folder.path().join("snapshots").join(name).display().to_string());
    place.run(&["snapshot", "create", "--url", &url(&notes), "--to", &one]).ok();
    place.run(&["snapshot", "create", "--url", &url(&notes), "--to", &two]).ok();
    let said = place.run(&["diff", &one, &two, "--json"]).ok();
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let provenance = &json["provenance"];
    assert_eq!(provenance["tier"], "hash", "{provenance}");
    assert_eq!(provenance["rowsSkipped"], provenance["rows"], "{provenance}");
}

#[test]
fn samples_drawn_under_different_keys_are_refused_and_those_under_one_compare() {
    let place = Place::new();
    let notes = place.notes("notes.db");
    let [one, two, far] = ["a/one.snap", "a/two.snap", "b/far.snap"].map(|name| place.folder.path().join(name).display().to_string());
    for file in [&one, &two, &far] {
        place.run(&["snapshot", "create", "--url", &url(&notes), "--to", file, "--sample", "notes=0.5"]).ok();
    }
    assert!(place.run(&["diff", &one, &two]).ok().out.contains("They are equal."));
    place.run(&["diff", &one, &far]).failed(2, "notes: both sides are samples, drawn under different keys");
}

#[test]
fn options_choose_what_counts() {
    let place = Place::new();
    let (before, after, _) = two(&place);
    let odd = place.run(&["diff", &before, &after, "--tables", "odd*"]).ok();
    assert!(odd.out.contains("They are equal.") && !odd.out.contains("notes"), "{}", odd.out);
    let hidden = place.run(&["diff", &before, &after, "--ignore-column", "notes.body"]).failed(1, "1 added, 1 removed");
    assert!(hidden.out.contains("2 changed rows are hidden"), "{}", hidden.out);
}

#[test]
fn a_patch_makes_one_side_the_other_and_back() {
    let place = Place::new();
    let (before, after, notes) = two(&place);
    let live = format!("live:{}", url(&notes));
    for (direction, like) in [("revert", &before), ("apply", &after)] {
        let patch = place.run(&["diff", &before, &after, "--patch", "sql", "--direction", direction]);
        assert_eq!(patch.code, 1, "{}", patch.err);
        rusqlite::Connection::open(&notes).unwrap().execute_batch(&patch.out).unwrap();
        place.run(&["diff", like, &live]).ok();
    }
    let json: Value = serde_json::from_str(&place.run(&["diff", &before, &after, "--patch", "json"]).out).unwrap();
    assert_eq!((&json["direction"], json["changes"].as_array().unwrap().len()), (&Value::from("apply"), 4));
}

#[test]
fn whatever_goes_wrong_is_exit_code_2_and_said() {
    let place = Place::new();
    let notes = place.notes("notes.db");
    let live = format!("live:{}", url(&notes));
    let dump = place.back_up(&notes, "dump", &["--artifacts", "dump"]).display().to_string();
    let whole = place.back_up(&notes, "whole", &["--artifacts", "snapshot", "--no-encrypt"]).display().to_string();
    place.run(&["diff", &live, &live]).failed(2, "two live databases");
    place.run(&["diff", &dump, &live]).failed(2, "without a snapshot");
    place.run(&["diff", "nothing.snap", &live]).failed(2, "nothing.snap");
    place.run(&["diff", &notes.display().to_string(), &whole]).failed(2, "notes.db");
    place.run(&["diff", &whole, "live:sqlite:///nowhere/x.db"]).failed(2, "nowhere");
    place.run(&["diff", &whole]).failed(2, "<B>");
    place.run(&["diff", &whole, &live, "--float-tolerance=-1"]).failed(2, "options are not valid");
    place.run(&["diff", &whole, &live]).ok();
}
