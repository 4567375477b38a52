//! Disks of any size, to be filled.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use tempfile::TempDir;

/// A small file system in memory, for disks that are full or cannot be written.
pub struct Disk(TempDir);

impl Disk {
    pub fn new(size: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("a tmpfs can be mounted: run the tests as root, in a container with --privileged");
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn make_read_only(&self) {
        mount_remount(self.path(), MountFlags::RDONLY, "").unwrap();
    }

    pub fn make_writable(&self) {
        mount_remount(self.path(), MountFlags::empty(), "").unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still hold a file open.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
