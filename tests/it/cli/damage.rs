//! What is damaged, foreign or wrong is said to be so, and nothing half-written is left.

use std::{fs, path::Path};

use super::{Place, artifact, url};

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, by: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - by]).unwrap();
}

#[test]
fn truncated_flipped_extended_and_missing_artifacts_are_found_and_not_restored() {
    let place = Place::new();
    let source = place.notes("notes.db");
    let size = 70_000;
    for (index, damage) in [
        &(|path: &Path| cut(path, 1)) as &dyn Fn(&Path),
        &|path| cut(path, 5000),
        &|path| flip(path, 9),
        &|path| flip(path, size / 2),
        &|path| flip(path, usize::MAX),
        &|path| fs::write(path, [fs::read(path).unwrap(), vec![0]].concat()).unwrap(),
        &|path| fs::remove_file(path).unwrap(),
        &|path| fs::write(path, b"").unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        let manifest = place.back_up(&source, &format!("to{index}"), &[]);
        damage(&artifact(&manifest));
        let (manifest, target) = (manifest.display().to_string(), place.path("target.db"));
        place.run(&["verify", &manifest]).failed(1, "DAMAGED");
        let said = place.run(&["restore", "--from", &manifest, "--url", &url(&target)]);
        assert_ne!(said.code, 0, "damage {index}: {}", said.out);
        assert!(!target.exists(), "damage {index} left a target");
    }
}

#[test]
fn an_altered_manifest_does_not_verify() {
    let place = Place::new();
    let manifest = place.back_up(&place.notes("notes.db"), "to", &[]);
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"rows\": 1000", "\"rows\": 1001")).unwrap();
    let manifest = manifest.display().to_string();
    place.run(&["verify", &manifest]).failed(1, "DAMAGED");
    place.run(&["restore", "--from", &manifest, "--url", &url(&place.path("target.db"))]).failed(2, "manifest");
}

#[test]
fn another_key_is_recognised_as_such() {
    let place = Place::new();
    let manifest = place.back_up(&place.notes("notes.db"), "to", &[]);
    let file = artifact(&manifest).display().to_string();
    let said: super::Said =
        place.command(&["decrypt", &file]).env("ENCRYPTION_KEY", "another passphrase of more than 32 characters").output().unwrap().into();
    said.failed(2, "ENCRYPTION_KEY");
    let said: super::Said = place.command(&["decrypt", &file]).output().unwrap().into();
    assert_ne!(said.code, 0);
    assert!(said.err.contains("ENCRYPTION_KEY"), "{}", said.err);
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only the source and the backup folder are there: {left:?}");
}

#[test]
fn what_is_no_dump_and_what_is_no_database_is_named() {
    let place = Place::new();
    fs::write(place.path("picture.png"), b"\x89PNG\r\n\x1a\n and more").unwrap();
    let target = url(&place.path("target.db"));
    place.run(&["restore", "--from", "picture.png", "--url", &target]).failed(2, "no dump");
    place.run(&["restore", "--from", "missing.dump", "--url", &target]).failed(2, "missing.dump");
    place.run(&["backup", "--url", &url(&place.path("picture.png")), "--to", "to"]).failed(1, "not a");
    place.run(&["backup", "--url", "oracle://x/y", "--to", "to"]).failed(2, "use one of");
    place.run(&["backup", "--url", "no url", "--to", "to"]).failed(2, "URL");
    assert!(!place.path("target.db").exists());
    let left = fs::read_dir(place.path("to")).map(|entries| {
        entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))).count()
    });
    assert_eq!(left.unwrap_or(0), 0, "a failed backup leaves nothing");
}
