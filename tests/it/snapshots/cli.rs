//! `dbsnap snapshot`, and backups with snapshots, as a person or a script runs them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::cli::{Place, contents, url};

const BOTH: &[&str] = &["--artifacts", "dump,snapshot"];

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The snapshot beside a manifest.
fn snapshot_of(manifest: &Path) -> PathBuf {
    let json: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let artifact = json["artifacts"].as_array().unwrap().iter().find(|artifact| artifact["kind"] == "snapshot").unwrap();
    manifest.with_file_name(artifact["file"].as_str().unwrap())
}

#[test]
fn a_snapshot_is_made_listed_and_shown_without_a_server() {
    let place = Place::new();
    let source = url(&place.notes("notes.db"));
    let made = place.run(&["snapshot", "create", "--url", &source, "--to", "out/notes.snap", "--json"]).json();
    assert_eq!(made["rows"], 1003);
    assert_eq!(made["size"], fs::metadata(place.path("out/notes.snap")).unwrap().len());
    assert_eq!(fs::metadata(place.path("out/notes.snap")).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = place.run(&["snapshot", "ls", "out/notes.snap", "--json"]).json();
    let tables: Vec<_> = listed["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["name"].as_str().unwrap(), table["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(tables, [("notes", 1000), ("odd 🦉 \"names\"", 3)]);
    assert_eq!((&listed["encrypted"], &listed["engine"], &listed["moment"]), (&json!(true), &json!("sqlite"), &made["moment"]));
    let page = place.run(&["snapshot", "show", "out/notes.snap", "notes", "--page", "50", "--limit", "20", "--json"]).json();
    assert_eq!((page["rows"].as_array().unwrap().len(), page["total"].as_u64()), (20, Some(1000)));
    assert_eq!(page["rows"][19]["cells"][1]["text"], "note number 1000");
    let row = place.run(&["snapshot", "show", "out/notes.snap", "notes", "--key", "7", "--json"]).json();
    assert_eq!((row["rows"][0]["key"].as_str(), row["rows"][0]["cells"][1]["text"].as_str()), (Some("7"), Some("note number 7")));
    let shown = place.run(&["snapshot", "show", "out/notes.snap", "odd 🦉 \"names\""]).ok().out;
    assert!(shown.contains("NULL") && shown.contains("x\\ny"), "a line end in a value is no line end on the terminal: {shown}");
    place.run(&["snapshot", "show", "out/notes.snap", "notes", "--key", "1001"]).failed(2, "key 1001");
    place.run(&["snapshot", "show", "out/notes.snap", "nots"]).failed(2, "table 'nots'");
    place.run(&["snapshot", "create", "--url", &source, "--to", "out/notes.snap"]).failed(2, "exists already");
}

#[test]
fn a_snapshot_opens_under_its_own_key_alone_and_without_one_where_it_is_plain() {
    let place = Place::new();
    let source = url(&place.notes("notes.db"));
    place.run(&["snapshot", "create", "--url", &source, "--to", "sealed.snap"]).ok();
    place.run(&["snapshot", "create", "--url", &source, "--to", "plain.snap", "--no-encrypt"]).ok();
    let other = |file| {
        place
            .command(&["snapshot", "ls", file])
            .env("ENCRYPTION_KEY", "another passphrase of more than 32 characters")
            .output()
            .unwrap()
            .into()
    };
    let none = |file| place.command(&["snapshot", "ls", file]).output().unwrap().into();
    let said: crate::cli::Said = other("sealed.snap");
    said.failed(2, "the ENCRYPTION_KEY given makes key");
    let said: crate::cli::Said = none("sealed.snap");
    assert_ne!(said.code, 0, "{}", said.out);
    let said: crate::cli::Said = none("plain.snap");
    said.ok();
    let sealed = fs::read(place.path("sealed.snap")).unwrap();
    assert!(!sealed.windows(11).any(|bytes| bytes == b"note number"), "nothing of a sealed row stands in clear");
    let said: crate::cli::Said = place.command(&["snapshot", "create", "--url", &source, "--to", "no-key.snap"]).output().unwrap().into();
    said.failed(2, "no key to encrypt with");
    assert!(!place.path("no-key.snap").exists());
}

#[test]
fn a_backup_of_both_restores_from_either_and_a_snapshot_file_alone_restores_too() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let manifest = text(&place.back_up(&source, "to", BOTH));
    place.run(&["verify", &manifest]).ok();
    for (target, more) in [("a.db", &["--source", "snapshot"][..]), ("b.db", &["--source", "dump"]), ("c.db", &[])] {
        let path = place.path(target);
        let mut args = vec!["restore", "--from", &manifest, "--url"];
        let target = url(&path);
        args.push(&target);
        args.extend(more);
        place.run(&args).ok();
        assert_eq!(contents(&path), contents(&source), "{more:?}");
    }
    let snapshot = text(&snapshot_of(Path::new(&manifest)));
    let said = place.run(&["verify", &snapshot, "--json"]).json();
    assert_eq!((said["intact"].as_bool(), said["rows"].as_u64()), (Some(true), Some(1003)));
    place.run(&["restore", "--from", &snapshot, "--url", &url(&place.path("d.db"))]).ok();
    assert_eq!(contents(&place.path("d.db")), contents(&source));
    place.run(&["restore", "--from", &snapshot, "--url", &url(&place.path("d.db"))]).failed(1, "there already");
    place
        .run(&["restore", "--from", &snapshot, "--url", &url(&place.path("d.db")), "--mode", "drop", "--yes"])
        .failed(2, "not possible from a snapshot");
    place.run(&["restore", "--from", &manifest, "--url", &url(&place.path("e.db")), "--dry-run"]).failed(2, "a dry run");
}

#[test]
fn rows_of_a_snapshot_go_into_an_existing_database_as_asked() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let snapshot = text(&snapshot_of(&place.back_up(&source, "to", BOTH)));
    let target = place.path("live.db");
    fs::copy(&source, &target).unwrap();
    let change = "DELETE FROM notes WHERE id <= 10; UPDATE notes SET body = 'mine' WHERE id = 500";
    rusqlite::Connection::open(&target).unwrap().execute_batch(change).unwrap();
    let before = contents(&target);
    let target_url = url(&target);
    let args = |more: &[&str]| -> Vec<String> {
        let fixed =
            ["restore", "--from", &snapshot, "--url", &target_url, "--mode", "append", "--content", "data", "--tables", "notes", "--json"];
        fixed.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
    };
    let run = |more: &[&str]| place.run(&args(more).iter().map(String::as_str).collect::<Vec<_>>());
    run(&["--dry-run", "--on-conflict", "overwrite"]).ok();
    assert_eq!(contents(&target), before, "a dry run changes nothing");
    run(&["--yes"]).failed(1, "500");
    assert_eq!(contents(&target), before, "a row that is not as expected stops everything");
    run(&["--yes", "--on-conflict", "skip"]).ok();
    assert_eq!(contents(&target).len(), 1003);
    assert_ne!(contents(&target), contents(&source), "the row that differs stays");
    run(&["--yes", "--on-conflict", "overwrite"]).ok();
    assert_eq!(contents(&target), contents(&source));
}

#[test]
fn a_cut_altered_or_foreign_snapshot_is_told_and_never_restored() {
    let place = Place::new();
    let source = place.notes("notes.db");
    for more in [&["--artifacts", "snapshot"][..], &["--artifacts", "snapshot", "--no-encrypt"]] {
        let manifest = place.back_up(&source, &format!("to{}", more.len()), more);
        let file = snapshot_of(&manifest);
        let whole = fs::read(&file).unwrap();
        let damage = |bytes: &[u8], what: &str| {
            fs::write(&file, bytes).unwrap();
            for path in [&manifest, &file] {
                let said = place.run(&["verify", &text(path)]);
                assert_eq!(said.code, 1, "{what}, {}: {}{}", path.display(), said.out, said.err);
            }
            let target = place.path("never.db");
            let said = place.run(&["restore", "--from", &text(&file), "--url", &url(&target)]);
            assert!(said.code != 0 && !target.exists(), "{what}: {}{}", said.out, said.err);
        };
        for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
            damage(&whole[..length], &format!("cut after {length} of {} bytes", whole.len()));
        }
        for step in 0..12 {
            let mut altered = whole.clone();
            let at = step * (whole.len() - 1) / 11;
            altered[at] ^= 0x20;
            damage(&altered, &format!("byte {at} of {} altered", whole.len()));
        }
        damage(&[&whole[..], b"more"].concat(), "bytes behind the end");
        damage(&[b"\x89DBROWS\n".as_slice(), &[0xa5; 5000]].concat(), "a foreign file that begins like one");
        fs::write(&file, &whole).unwrap();
        place.run(&["verify", &text(&manifest)]).ok();
    }
}

#[test]
fn a_deep_verification_tells_the_rows_in_which_a_dump_differs_from_its_snapshot() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let args = ["--artifacts", "dump,snapshot", "--no-encrypt", "--compression", "none"];
    let manifest = place.back_up(&source, "to", &args);
    place.run(&["verify", "--deep", &text(&manifest)]).ok();
    // The dump of a database in which three rows are others, under the names and checksums that this manifest promises:
    // whoever can write to a store without a key can do that, and a failing disk something like it.
    rusqlite::Connection::open(&source)
        .unwrap()
        .execute_batch(
            "UPDATE notes SET body = 'note number 7!' WHERE id = 7; DELETE FROM notes WHERE id = 8; INSERT INTO notes (id) VALUES (2000)",
        )
        .unwrap();
    let other = place.back_up(&source, "other", &args);
    let read = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let (mut own, other_json) = (read(&manifest), read(&other));
    let file = |json: &Value| json["artifacts"][0]["file"].as_str().unwrap().to_owned();
    fs::copy(other.with_file_name(file(&other_json)), manifest.with_file_name(file(&own))).unwrap();
    for field in ["plainSize", "storedSize", "plainSha256", "storedSha256"] {
        own["artifacts"][0][field] = other_json["artifacts"][0][field].clone();
    }
    own["mac"] = Value::Null;
    fs::write(&manifest, serde_json::to_vec(&own).unwrap()).unwrap();
    place.run(&["verify", &text(&manifest)]).ok();
    let said = place.run(&["verify", "--deep", &text(&manifest), "--json"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let problems = report["problems"].to_string();
    for told in [
        "notes: 1 rows of the snapshot are not in the dump, 1 rows of the dump are not in the snapshot, 1 differ",
        "the row 7 has other values in the dump",
        "the row 8 is in the snapshot alone",
        "the row 2000 is in the dump alone",
    ] {
        assert!(problems.contains(told), "'{told}' is not in {problems}");
    }
    place.run(&["verify", "--deep", &text(&snapshot_of(&manifest))]).failed(2, "needs the backup's manifest");
}
