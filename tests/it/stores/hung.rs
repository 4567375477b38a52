//! Stores on a mount that hangs, as a network share does whose server is gone.

use std::{
    ffi::CString,
    fs::File,
    os::fd::AsRawFd,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use dbsnap::{
    domain::ids::StoreId,
    stores::{Store, asked::Asked, find},
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;
use tempfile::TempDir;

/// A file system that never answers: one in user space whose server does nothing.
struct Hung {
    folder: TempDir,
    /// When it is closed, all who wait get an error.
    server: Option<File>,
}

impl Hung {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let server = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse: run the tests with --privileged");
        let options = CString::new(format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd())).unwrap();
        mount("dbsnap-test", folder.path(), "fuse", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        Self { folder, server: Some(server) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn end(&mut self) {
        self.server = None;
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.end();
    }
}

/// The store in `folder`, or a failure when opening it hangs.
fn open(folder: &Path) -> Arc<dyn Store> {
    let settings = json!({ "path": folder });
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(find("local").unwrap().open(settings.as_object().unwrap())));
    told.recv_timeout(Duration::from_secs(20)).expect("opening a store waits for its disk").unwrap()
}

#[test]
fn a_store_that_hangs_holds_up_neither_who_opens_it_nor_the_runtime() {
    let mut hung = Hung::new();
    let store = open(&hung.path().join("backups"));
    let runtime = tokio::runtime::Builder::new_current_thread().thread_name("hung-store").enable_all().build().unwrap();
    let asked = Asked::default();
    let ask = |patience| asked.ask(StoreId::LOCAL, store.clone(), patience);
    let began = Instant::now();
    runtime.block_on(async {
        for answer in futures_util::future::join_all((0..20).map(|_| ask(Duration::from_millis(300)))).await {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("did not answer within 300ms"), "{error}");
        }
        assert_eq!(blocking_threads(), 1, "it is asked once, whoever waits for its answer");
    });
    assert!(began.elapsed() < Duration::from_secs(20));
    hung.end();
    runtime.block_on(async {
        let first = ask(Duration::from_secs(20)).await.unwrap_err().to_string();
        assert!(!first.contains("did not answer"), "the first question came to its end: {first}");
        ask(Duration::from_secs(20)).await.expect("it is asked anew");
    });
}

/// The threads of this test's runtime that do blocking work.
fn blocking_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "hung-store").count()
}
