//! Control groups: what the children of one operation may take of memory and processors together. They exist where this
//! process may make some: as root or in a delegated group. Both versions of the kernel's interface are known.
//!
//! A child enters its group by itself, before it becomes its program: what it starts is born there, however early.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use super::limits::find;
use crate::domain::run::{ChildLimits, Run};

/// Length of the time over which processor time is shared out, microseconds.
const PERIOD: u64 = 100_000;
/// What our groups are called, so that those of an earlier process are known.
const PREFIX: &str = "dbsnap-";

/// Where groups can be made on this machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub memory: Option<PathBuf>,
    pub cpu: Option<PathBuf>,
    /// One folder has both, and the files of version 2.
    second: bool,
}

impl Place {
    /// Looked for once.
    pub fn here() -> &'static Self {
        static PLACE: OnceLock<Place> = OnceLock::new();
        PLACE.get_or_init(|| {
            let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
            // A child enters its group through a shell.
            let place = find("sh").map(|_| Self::find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))).unwrap_or_default();
            for folder in place.memory.iter().chain(&place.cpu) {
                sweep(folder);
            }
            place
        })
    }

    fn find(groups: &str, mounts: &str) -> Self {
        let second = own_folder(groups, mounts, "").filter(|folder| delegated(folder));
        if let Some(folder) = second {
            return Self { memory: Some(folder.clone()), cpu: Some(folder), second: true };
        }
        let first = |controller: &str| own_folder(groups, mounts, controller).filter(|folder| may_make_groups(folder));
        Self { memory: first("memory"), cpu: first("cpu"), second: false }
    }
}

/// The folder of the group that this process is in: that of a controller of version 1, or of version 2 for `""`.
fn own_folder(groups: &str, mounts: &str, controller: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let kind = system.next()?;
        let fits = match controller {
            "" => kind == "cgroup2",
            _ => kind == "cgroup" && system.nth(1)?.split(',').any(|option| option == controller),
        };
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // In a container the mount may show only a part of the tree.
        let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
        fits.then(|| Path::new(point).join(below))
    })
}

/// Hands memory and processor time on to groups below this one. A group that hands on may hold no process itself, so this
/// process moves into one of its own, if it has to and may.
fn delegated(folder: &Path) -> bool {
    let hand_on = || fs::write(folder.join("cgroup.subtree_control"), "+memory +cpu");
    if !may_make_groups(folder) {
        return false;
    }
    if hand_on().is_ok() {
        return true;
    }
    let own = folder.join(format!("{PREFIX}main"));
    let me = std::process::id().to_string();
    let moved = fs::create_dir_all(&own).and_then(|()| fs::write(own.join("cgroup.procs"), &me));
    if moved.is_ok() && hand_on().is_ok() {
        return true;
    }
    // Others are in the group too: everything stays as it was.
    let _ = fs::write(folder.join("cgroup.procs"), &me);
    let _ = fs::remove_dir(&own);
    false
}

fn may_make_groups(folder: &Path) -> bool {
    let trial = folder.join(format!("{PREFIX}trial-{}", std::process::id()));
    fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial)).is_ok()
}

/// Removes groups that an earlier process left. Those that hold processes cannot be removed, which is well; those of another
/// process that lives may be about to.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if left_behind(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// True for a group of ours whose process is gone. One with our own process id is an earlier process's: nothing was made yet.
fn left_behind(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let owner = rest.trim_start_matches("trial-").split('-').next().and_then(|pid| pid.parse::<u32>().ok());
    owner.is_none_or(|pid| pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists())
}

/// How many children hold each group of this process. One that could not be removed yet stays here with none.
static HELD: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// A child's hold on the groups of its operation. Its children share them: the first makes them, the last removes them.
#[derive(Debug, Default)]
pub(super) struct Cage {
    memory: Option<(PathBuf, u64)>,
    cpu: Option<(PathBuf, u32)>,
    second: bool,
}

impl Cage {
    /// Makes the groups for what of the operation's limits this machine can hold; with none of them it holds nothing.
    pub fn of(run: &Run) -> io::Result<Self> {
        let ChildLimits { memory_bytes, cpu_percent, .. } = run.limits;
        if memory_bytes.is_none() && cpu_percent.is_none() {
            return Ok(Self::default());
        }
        let place = Place::here();
        let name = format!("{PREFIX}{}-{}", std::process::id(), run.scratch.file_name().unwrap_or_default().to_string_lossy());
        let below = |folder: &Option<PathBuf>| folder.as_ref().map(|folder| folder.join(&name));
        let cage = Self { memory: below(&place.memory).zip(memory_bytes), cpu: below(&place.cpu).zip(cpu_percent), second: place.second };
        cage.hold()?;
        Ok(cage)
    }

    pub fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// The files through which a process enters its groups, by writing `0`.
    pub fn entrances(&self) -> impl Iterator<Item = PathBuf> {
        self.folders().into_iter().map(|folder| folder.join("cgroup.procs"))
    }

    fn folders(&self) -> Vec<PathBuf> {
        let memory = self.memory.iter().map(|(folder, _)| folder);
        let mut folders: Vec<PathBuf> = memory.chain(self.cpu.iter().map(|(folder, _)| folder)).cloned().collect();
        folders.dedup();
        folders
    }

    fn hold(&self) -> io::Result<()> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in self.folders() {
            *held.entry(folder.clone()).or_default() += 1;
            match fs::create_dir(&folder) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
                _ => {}
            }
        }
        if let Some((folder, bytes)) = &self.memory {
            fs::write(folder.join(if self.second { "memory.max" } else { "memory.limit_in_bytes" }), bytes.to_string())?;
            if self.second {
                // What goes to swap is not less. Without swap there is no such file.
                let _ = fs::write(folder.join("memory.swap.max"), "0");
            }
        }
        if let Some((folder, percent)) = &self.cpu {
            let quota = u64::from((*percent).max(1)) * PERIOD / 100;
            match self.second {
                true => fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD}"))?,
                false => fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())?,
            }
        }
        Ok(())
    }

    /// The limit in bytes, when a process of the group was ended because it was reached.
    pub fn overrun(&self) -> Option<u64> {
        let (folder, limit) = self.memory.as_ref()?;
        let file = if self.second { "memory.events" } else { "memory.oom_control" };
        let told = fs::read_to_string(folder.join(file)).ok()?;
        let kills = told.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())?;
        (kills > 0).then_some(*limit)
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let folders = self.folders();
        if folders.is_empty() {
            return;
        }
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in folders {
            held.entry(folder).and_modify(|children| *children = children.saturating_sub(1));
        }
        // A group that still holds a process on its way out cannot be removed: the next child's end tries again.
        held.retain(|folder, children| {
            *children > 0 || matches!(fs::remove_dir(folder), Err(cause) if cause.kind() != io::ErrorKind::NotFound)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/c1 /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const GROUPS: &str = "4:memory:/docker/c1/inner\n1:cpu,cpuacct:/\n0::/user.slice/x.service\n";

    #[test]
    fn the_own_group_is_found_in_both_versions_and_in_a_container() {
        let found = |controller| own_folder(GROUPS, MOUNTS, controller);
        assert_eq!(found("memory"), Some("/sys/fs/cgroup/memory/inner".into()));
        assert_eq!(found("cpu"), Some("/sys/fs/cgroup/cpu/".into()));
        assert_eq!(found(""), Some("/sys/fs/cgroup/unified/user.slice/x.service".into()));
        assert_eq!((found("pids"), own_folder("", MOUNTS, ""), own_folder(GROUPS, "", "cpu")), (None, None, None));
    }

    #[test]
    fn only_groups_whose_process_is_gone_are_left_behind() {
        // The parent of this process lives; no process has so large a number.
        let (own, alive, gone) = (std::process::id(), std::os::unix::process::parent_id(), 1_u32 << 30);
        let folder = tempfile::tempdir().unwrap();
        let made = |names: Vec<String>| {
            names.iter().for_each(|name| fs::create_dir_all(folder.path().join(name)).unwrap());
            names
        };
        let kept = made(vec![format!("dbsnap-{alive}-job-1"), format!("dbsnap-trial-{alive}"), format!("other-{gone}")]);
        let removed = made(vec![format!("dbsnap-{gone}-job-1"), format!("dbsnap-trial-{gone}"), format!("dbsnap-{own}-job-1")]);
        sweep(folder.path());
        let there = |name: &String| folder.path().join(name).exists();
        assert_eq!((kept.iter().all(there), removed.iter().any(there)), (true, false));
    }

    #[test]
    fn a_group_of_version_two_gets_its_limits_and_goes_with_the_last_child() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("dbsnap-1-job");
        let cage = || Cage { memory: Some((group.clone(), 1 << 20)), cpu: Some((group.clone(), 150)), second: true };
        let (first, second) = (cage(), cage());
        first.hold().unwrap();
        second.hold().unwrap();
        let read = |name: &str| fs::read_to_string(group.join(name)).unwrap();
        assert_eq!((read("memory.max"), read("cpu.max")), ("1048576".into(), "150000 100000".into()));
        assert_eq!(first.entrances().collect::<Vec<_>>(), [group.join("cgroup.procs")]);
        assert_eq!(first.overrun(), None);
        fs::write(group.join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert_eq!(first.overrun(), Some(1 << 20));
        // The files of a real group go with it.
        for file in fs::read_dir(&group).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        drop(first);
        assert!(group.is_dir(), "the second child is still in it");
        drop(second);
        assert!(!group.exists());
    }
}
