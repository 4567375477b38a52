//! backup, verify, decrypt, restore.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Place, artifact, contents, url};

#[test]
fn a_database_comes_back_as_it_was_with_every_compression_with_and_without_encryption() {
    let place = Place::new();
    let source = place.notes("notes.db");
    for (index, more) in [
        &["--compression", "zstd:1"][..],
        &["--compression", "zstd:19", "--multi-thread"],
        &["--compression", "gzip:6"],
        &["--compression", "none"],
        &["--compression", "zstd:3", "--no-encrypt"],
        &["--compression", "none", "--no-encrypt"],
    ]
    .into_iter()
    .enumerate()
    {
        let manifest = place.back_up(&source, &format!("to{index}"), more);
        place.run(&["verify", &manifest.display().to_string()]).ok();
        let target = place.path(&format!("restored{index}.db"));
        let said = place.run(&["restore", "--from", &manifest.display().to_string(), "--url", &url(&target), "--json"]).json();
        assert_eq!(said["rows"], 1003, "{more:?}");
        assert_eq!(contents(&target), contents(&source), "{more:?}");
    }
}

#[test]
fn an_artifact_alone_without_its_manifest_is_restored_and_verified_too() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let file = artifact(&place.back_up(&source, "to", &[])).display().to_string();
    place.run(&["verify", &file]).ok();
    place.run(&["restore", "--from", &file, "--url", &url(&place.path("again.db"))]).ok();
    assert_eq!(contents(&place.path("again.db")), contents(&source));
}

#[test]
fn decrypt_gives_the_plain_file_under_its_own_name_and_never_overwrites_unasked() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let file = artifact(&place.back_up(&source, "to", &[])).display().to_string();
    place.run(&["decrypt", &file, "-o", "plain.db"]).ok();
    assert_eq!(contents(&place.path("plain.db")), contents(&source));
    place.run(&["decrypt", &file, "-o", "plain.db"]).failed(2, "exists already");
    place.run(&["decrypt", &file, "-o", "plain.db", "--force"]).ok();
    place.run(&["decrypt", &file]).ok();
    let name = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.ends_with(".dump"));
    assert!(name.is_some(), "the layers' extensions are taken off");
}

#[test]
fn files_are_private_and_names_say_what_they_are() {
    let place = Place::new();
    let manifest = place.back_up(&place.notes("notes.db"), "to", &["--name", "../my shop"]);
    let file = artifact(&manifest);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("my-shop_manual_20") && name.ends_with(".dump.zst.enc"), "{name}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(file.parent().unwrap(), place.path("to").canonicalize().unwrap());
}

#[test]
fn an_existing_target_is_not_touched_without_being_asked_to() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let manifest = place.back_up(&source, "to", &[]).display().to_string();
    let target = place.path("other.db");
    fs::write(&target, b"").unwrap();
    place.run(&["restore", "--from", &manifest, "--url", &url(&target)]).failed(1, "exists");
    assert_eq!(fs::read(&target).unwrap(), b"", "mode new leaves what is there");
    place.run(&["restore", "--from", &manifest, "--url", &url(&source), "--mode", "drop"]).failed(2, "--yes");
    place.run(&["restore", "--from", &manifest, "--url", &url(&source), "--mode", "drop", "--yes"]).ok();
}

#[test]
fn a_key_may_come_from_a_file_and_one_that_is_missing_is_asked_for() {
    let place = Place::new();
    let source = place.notes("notes.db");
    fs::write(place.path("key"), format!("{}\n", super::KEY)).unwrap();
    let to = place.path("to").display().to_string();
    let args = ["backup", "--url", &url(&source), "--to", &to];
    let said: super::Said = place.command(&args).output().unwrap().into();
    said.failed(2, "ENCRYPTION_KEY");
    assert!(!place.path("to").exists(), "nothing is written then");
    let said: super::Said = place.command(&args).env("ENCRYPTION_KEY_FILE", place.path("key")).output().unwrap().into();
    said.ok();
}

#[test]
fn an_unsigned_manifest_is_restored_with_a_key_only_when_that_is_accepted() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let to = place.path("to").display().to_string();
    let keyless = |args: &[&str]| super::Said::from(place.command(args).output().unwrap());
    let made = keyless(&["backup", "--url", &url(&source), "--to", &to, "--no-encrypt", "--json"]).json();
    let unsigned = made["manifestPath"].as_str().unwrap();
    keyless(&["restore", "--from", unsigned, "--url", &url(&place.path("keyless.db"))]).ok();

    let target = url(&place.path("target.db"));
    place.run(&["restore", "--from", unsigned, "--url", &target]).failed(2, "--accept-unsigned");
    assert!(!place.path("target.db").exists());
    assert!(place.run(&["verify", unsigned]).ok().err.contains("carries no signature"));
    let said = place.run(&["restore", "--from", unsigned, "--url", &target, "--accept-unsigned"]).ok();
    assert!(said.err.contains("carries no signature"), "{}", said.err);
    assert_eq!(contents(&place.path("target.db")), contents(&source));

    let signed = place.back_up(&source, "signed", &["--no-encrypt"]).display().to_string();
    assert!(keyless(&["verify", &signed]).ok().err.contains("not checked"));
    let said = keyless(&["restore", "--from", &signed, "--url", &url(&place.path("unchecked.db"))]).ok();
    assert!(said.err.contains("not checked"), "{}", said.err);
    let text = fs::read_to_string(&signed).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    manifest["mac"] = serde_json::Value::Null;
    fs::write(&signed, manifest.to_string()).unwrap();
    place.run(&["restore", "--from", &signed, "--url", &url(&place.path("stripped.db"))]).failed(2, "--accept-unsigned");
}
