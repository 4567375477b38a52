//! rebuild, export, import: the commands that open a data directory.

use serde_json::Value;

use super::Place;

#[test]
fn the_catalogue_is_rebuilt_from_the_manifests_and_forged_ones_are_left_out() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let first = place.back_up(&source, "data/backups", &[]);
    place.back_up(&source, "data/backups", &[]);
    place.back_up(&source, "data/backups", &["--no-encrypt"]);
    let said = place.run(&["rebuild", "--json"]).json();
    assert_eq!((&said["added"], &said["known"]), (&Value::from(3), &Value::from(0)));
    let said = place.run(&["rebuild", "--json"]).json();
    assert_eq!((&said["added"], &said["known"]), (&Value::from(0), &Value::from(3)));

    std::fs::remove_dir_all(place.path("data/scratch")).ok();
    for name in ["dbsnap.db", "dbsnap.db-wal", "dbsnap.db-shm"] {
        std::fs::remove_file(place.path("data").join(name)).ok();
    }
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replace("\"database\": \"notes.db\"", "\"database\": \"other.db\"")).unwrap();
    let said = place.run(&["rebuild", "--json"]);
    assert_eq!(said.code, 1, "something was refused");
    let said: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(said["added"], 2);
    assert!(said["refused"][0].as_str().unwrap().contains("notes.db"), "{said}");
}

#[test]
fn a_wrong_key_is_refused_at_start_and_nothing_is_overwritten() {
    let place = Place::new();
    place.run(&["export"]).ok();
    let before = rows(&place.path("data/dbsnap.db"));
    assert!(before.iter().any(|row| row.contains("master_key")), "{before:?}");
    let said: super::Said =
        place.command(&["export"]).env("ENCRYPTION_KEY", "another passphrase of more than 32 characters").output().unwrap().into();
    said.failed(2, "ENCRYPTION_KEY is not the one");
    assert_eq!(rows(&place.path("data/dbsnap.db")), before);
    place.run(&["export"]).ok();
}

#[test]
fn an_exported_configuration_is_imported_elsewhere_and_foreign_keys_in_it_are_refused() {
    let (here, there) = (Place::new(), Place::new());
    here.run(&["export", "-o", "exported.json"]).ok();
    let text = std::fs::read_to_string(here.path("exported.json")).unwrap();
    std::fs::write(there.path("exported.json"), &text).unwrap();
    there.run(&["import", "exported.json"]).ok();
    std::fs::write(there.path("odd.json"), text.replace("\"version\"", "\"users\": [], \"version\"")).unwrap();
    there.run(&["import", "odd.json"]).failed(2, "users");
    there.run(&["import", "missing.json"]).failed(2, "missing.json");

    let mut export: Value = serde_json::from_str(&text).unwrap();
    let database = |name: &str| {
        serde_json::json!({"id": "00000000-0000-7000-8000-0000000000aa", "name": name, "engine": "sqlite",
            "settings": {"path": "/srv/some.db"}, "backupOptions": {}})
    };
    let refused = |export: &Value, words: &str| {
        std::fs::write(there.path("odd.json"), export.to_string()).unwrap();
        there.run(&["import", "odd.json"]).failed(2, words);
    };
    export["databases"] = vec![database("good"), database("two\nlines")].into();
    refused(&export, "one line");
    export["databases"] = vec![database("good"), database("twice"), database("twice")].into();
    refused(&export, "two databases named 'twice'");
    export["databases"] = vec![database("good")].into();
    let iterations = export["key"]["iterations"].take();
    for odd in [1, 4_000_000_000_u32] {
        export["key"]["iterations"] = odd.into();
        refused(&export, "iterations");
    }
    export["key"]["iterations"] = iterations;
    std::fs::write(there.path("good.json"), export.to_string()).unwrap();
    let said = there.run(&["import", "good.json"]).ok();
    assert!(said.out.contains("good"), "none of the refused files had added it: {}", said.out);
}

/// Every row of every table of a catalogue. Not the file's bytes: opening it may move the write-ahead log into it.
fn rows(catalogue: &std::path::Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(catalogue).unwrap();
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let tables: Vec<String> = connection.prepare(names).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut rows = Vec::new();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at)).collect::<Result<Vec<_>, _>>();
        rows.extend(statement.query_map([], read).unwrap().map(|row| format!("{table} {:?}", row.unwrap())));
    }
    rows
}
