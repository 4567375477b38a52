//! The local store: its configuration, and what only a folder has.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dbsnap::{
    domain::stream::PIECE,
    error::Kind,
    stores::{Store, find},
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tempfile::TempDir;

use crate::support::disk::Disk;

use super::{
    Opened,
    conformance::{bytes, keys, read},
    pattern::{Alive, body},
};

pub fn open() -> Opened {
    let folder = TempDir::new().unwrap();
    Opened { store: at(&folder.path().join("made/by/the/store")), _keep: Box::new(folder) }
}

fn at(path: &Path) -> Arc<dyn Store> {
    let settings = json!({ "path": path });
    find("local").unwrap().open(settings.as_object().unwrap()).unwrap()
}

#[tokio::test]
async fn a_full_disk_fails_clearly_and_leaves_nothing() {
    let disk = Disk::new("4m");
    let store = at(disk.path());
    store.put("kept", bytes("safe")).await.unwrap();
    let free = store.health().await.unwrap().free.unwrap();
    let error = store.put("shop/too-big", body(64 * 1024 * 1024, &Alive::default())).await.unwrap_err();
    assert_eq!(error.kind, Kind::Storage);
    let text = error.to_string();
    for part in ["shop/too-big", "No space left", "free space"] {
        assert!(text.contains(part), "'{part}' in: {text}");
    }
    assert!(store.stat("shop/too-big").await.unwrap().is_none());
    assert_eq!(keys(&*store, "").await.len(), 1);
    assert!(!disk.path().join("shop").exists(), "no empty folder is left");
    assert_eq!(fs::read_dir(disk.path().join(".incoming")).unwrap().count(), 0);
    assert_eq!(store.health().await.unwrap().free.unwrap(), free, "the space is given back");
    assert_eq!(read(&*store, "kept").await.unwrap(), b"safe");
}

#[tokio::test]
async fn a_read_only_disk_can_be_read_and_says_why_it_cannot_be_written() {
    let disk = Disk::new("4m");
    let store = at(disk.path());
    store.put("a/kept", bytes("safe")).await.unwrap();
    disk.make_read_only();
    for error in [store.put("b", bytes("x")).await.err(), store.delete("a/kept").await.err(), store.health().await.err()] {
        let text = error.expect("refused").to_string();
        assert!(text.contains("Read-only file system") && text.contains("mount it writable"), "{text}");
    }
    assert_eq!(read(&*store, "a/kept").await.unwrap(), b"safe");
    assert_eq!(keys(&*store, "").await.len(), 1);
}

#[tokio::test]
async fn a_folder_that_vanished_is_a_failure_and_not_an_empty_store() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("volume");
    let store = at(&root);
    store.put("a", bytes("x")).await.unwrap();
    fs::rename(&root, folder.path().join("away")).unwrap();
    assert_eq!(store.stat("a").await.unwrap_err().kind, Kind::Storage);
    assert_eq!(store.get("a", None).await.err().unwrap().kind, Kind::Storage);
    let text = store.list("").next().await.unwrap().unwrap_err().to_string();
    assert!(text.contains("is the volume mounted?"), "{text}");
    store.put("b", bytes("x")).await.unwrap_err();
    assert!(!root.exists(), "an unmounted volume is not written beside");
}

#[tokio::test]
async fn files_and_folders_are_private() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("backups");
    let store = at(&root);
    store.put("shop/2025/11/x.dump", bytes("x")).await.unwrap();
    for (path, mode) in [("", 0o700), (".incoming", 0o700), ("shop", 0o700), ("shop/2025/11", 0o700), ("shop/2025/11/x.dump", 0o600)] {
        assert_eq!(fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
}

#[tokio::test]
async fn emptied_folders_go_with_their_last_object() {
    let folder = TempDir::new().unwrap();
    let store = at(folder.path());
    store.put("shop/2025/11/x", bytes("x")).await.unwrap();
    store.put("shop/2024/y", bytes("y")).await.unwrap();
    store.delete("shop/2025/11/x").await.unwrap();
    assert!(!folder.path().join("shop/2025").exists());
    assert!(folder.path().join("shop/2024/y").exists());
    store.delete("shop/2024/y").await.unwrap();
    assert!(!folder.path().join("shop").exists() && folder.path().exists());
}

#[tokio::test]
async fn symbolic_links_lead_nowhere() {
    let folder = TempDir::new().unwrap();
    let (root, outside) = (folder.path().join("store"), folder.path().join("outside"));
    let store = at(&root);
    store.health().await.unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, root.join("folder")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();

    for key in ["folder/secret", "file"] {
        assert!(store.stat(key).await.unwrap().is_none(), "{key}");
        assert_eq!(store.get(key, None).await.err().unwrap().kind, Kind::NotFound, "{key}");
    }
    assert!(keys(&*store, "").await.is_empty(), "links are not listed");
    let text = store.put("folder/planted", bytes("x")).await.unwrap_err().to_string();
    assert!(text.contains("symbolic link"), "{text}");
    store.delete("folder/secret").await.unwrap();
    store.put("file", bytes("mine")).await.unwrap();
    assert_eq!(read(&*store, "file").await.unwrap(), b"mine", "the link was replaced, not followed");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");

    fs::remove_dir(root.join(".incoming")).unwrap();
    symlink(&outside, root.join(".incoming")).unwrap();
    store.put("x", bytes("x")).await.unwrap_err();
    store.sweep().await.unwrap_err();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn pipes_and_devices_are_not_read() {
    let folder = TempDir::new().unwrap();
    let store = at(folder.path());
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(store.get("pipe", None).await.err().unwrap().kind, Kind::NotFound);
    assert!(keys(&*store, "").await.is_empty());
}

#[tokio::test]
async fn the_folder_of_unfinished_files_holds_no_objects() {
    let folder = TempDir::new().unwrap();
    let store = at(folder.path());
    assert_eq!(store.put(".incoming/x", bytes("x")).await.unwrap_err().kind, Kind::Validation);
    store.put("deeper/.incoming", bytes("x")).await.unwrap();
    assert_eq!(keys(&*store, "").await.len(), 1);
}

#[tokio::test]
async fn a_sweep_spares_what_is_being_written() {
    let folder = TempDir::new().unwrap();
    let store = at(folder.path());
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let tail = stream::once(async move {
        wait.await.ok();
        Ok(Bytes::from_static(b"tail"))
    });
    let slow = stream::iter([Ok(Bytes::from(vec![1; PIECE]))]).chain(tail).boxed();
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put("slow", slow).await }
    });
    until("the writer has begun", || incoming_bytes(folder.path()) >= PIECE as u64).await;
    fs::write(folder.path().join(".incoming/leftover"), "of a crash").unwrap();
    assert_eq!(at(folder.path()).sweep().await.unwrap(), 1, "the leftover only");
    go.send(()).unwrap();
    assert_eq!(put.await.unwrap().unwrap().size, PIECE as u64 + 4);
}

#[tokio::test]
async fn a_killed_writer_leaves_only_what_a_sweep_removes() {
    let folder = TempDir::new().unwrap();
    let store = at(folder.path());
    store.put("victim", bytes("old")).await.unwrap();
    let mut child = Writer::start(folder.path());
    until("the writer has begun", || incoming_bytes(folder.path()) > 4 * PIECE as u64).await;
    child.kill();
    assert_eq!(read(&*store, "victim").await.unwrap(), b"old");
    assert_eq!(keys(&*store, "").await.len(), 1);
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(fs::read_dir(folder.path().join(".incoming")).unwrap().count(), 0);
}

const WRITER_FOLDER: &str = "DBSNAP_TEST_WRITER_FOLDER";

/// Not a test of its own: the process that the test above starts and kills. It replaces `victim` until it is killed.
#[tokio::test]
async fn writer_process() {
    if let Some(folder) = std::env::var_os(WRITER_FOLDER) {
        let _ = at(Path::new(&folder)).put("victim", body(4 << 30, &Alive::default())).await;
    }
}

const SWEEPER_FOLDER: &str = "DBSNAP_TEST_SWEEPER_FOLDER";

#[tokio::test]
async fn a_sweep_that_cannot_look_at_a_file_leaves_it() {
    let folder = TempDir::new().unwrap();
    let store = at(folder.path());
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let tail = stream::once(async move {
        wait.await.ok();
        Ok(Bytes::from_static(b"tail"))
    });
    let slow = stream::iter([Ok(Bytes::from(vec![1; PIECE]))]).chain(tail).boxed();
    let put = tokio::spawn(async move { store.put("slow", slow).await });
    until("the writer has begun", || incoming_bytes(folder.path()) >= PIECE as u64).await;
    let sweeper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stores::local::sweeper_process"])
        .env(SWEEPER_FOLDER, folder.path())
        .stdout(Stdio::null())
        .status();
    assert!(sweeper.unwrap().success());
    go.send(()).unwrap();
    assert_eq!(put.await.unwrap().unwrap().size, PIECE as u64 + 4);
}

/// Not a test of its own: the process of the test above. It sweeps with ever more files that it may have open.
#[tokio::test]
async fn sweeper_process() {
    let Some(folder) = std::env::var_os(SWEEPER_FOLDER) else { return };
    let store = at(Path::new(&folder));
    let next = std::os::fd::AsRawFd::as_raw_fd(&fs::File::open("/dev/null").unwrap()) as u64;
    let mut swept = 0;
    for more in 0..16 {
        let limit = rustix::process::Rlimit { current: Some(next + more), maximum: Some(4096) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        if let Ok(removed) = store.sweep().await {
            assert_eq!(removed, 0, "with {more} more files");
            swept += 1;
        }
    }
    assert!(swept > 0, "the last ones had enough");
}

struct Writer(Child);

impl Writer {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stores::local::writer_process"])
            .env(WRITER_FOLDER, folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes of unfinished files.
fn incoming_bytes(root: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(root.join(".incoming")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(Instant::now() < deadline, "waited 30 s until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
