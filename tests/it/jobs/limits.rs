//! What child processes may take, seen from outside: through /proc.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use dbsnap::{
    domain::run::{ChildLimits, Learned, Run, Silent},
    engines::process::{Child, Program, limits},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

fn run(limits: ChildLimits) -> (Run, TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let run = Run {
        cancel: CancellationToken::new(),
        observer: Arc::new(Silent),
        scratch: scratch.path().to_owned(),
        tool_dirs: Vec::new(),
        learned: Learned::default(),
        limits,
    };
    (run, scratch)
}

fn sh(script: &str) -> Program {
    Program::new("/bin/sh").arg("-c").arg(script)
}

/// Starts a shell that first writes its process id, and reads that.
async fn started(script: &str, run: &Run) -> (Child, u32) {
    let mut child = sh(&format!("echo $$; {script}")).stdout().spawn(run).unwrap();
    let head = child.head(2, run).await.unwrap();
    let pid = String::from_utf8_lossy(&head).lines().next().unwrap().parse().unwrap();
    (child, pid)
}

/// Fields of /proc/PID/stat after the name: the third of the file is the first here.
fn stat(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_child_is_as_nice_as_asked_and_gives_way_on_disks() {
    let (plain, _a) = run(ChildLimits::default());
    let (child, pid) = started("sleep 600", &plain).await;
    let usual = stat(pid)[16].clone();
    child.kill().await;

    let (limited, _b) = run(ChildLimits { nice: Some(11), idle_io: Some(true), ..ChildLimits::default() });
    let (child, pid) = started("sleep 600", &limited).await;
    assert_eq!(stat(pid)[16], "11", "it would be {usual}");
    let class = std::process::Command::new("ionice").arg("-p").arg(pid.to_string()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&class.stdout).trim(), "idle");
    child.kill().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_limits_too() {
    let (limited, _scratch) = run(ChildLimits { nice: Some(5), ..ChildLimits::default() });
    let error = Program::new("/nowhere/pg_dump").spawn(&limited).err().expect("no such program");
    assert!(error.to_string().contains("/nowhere/pg_dump"), "{error}");
    let found = Program::new("sh").arg("-c").arg("exit 0").spawn(&limited).unwrap();
    found.success(&limited).await.unwrap();
}

#[tokio::test]
async fn children_that_take_more_memory_than_allowed_are_ended_and_the_error_says_so() {
    let limit = 64 << 20;
    let (limited, scratch) = run(ChildLimits { memory_bytes: Some(limit), ..ChildLimits::default() });
    let alone = missing(&limited);
    // Until its input ends, tail keeps the last 256 MiB of it.
    let error = sh("head -c 268435456 /dev/zero | tail -c 268435456 > /dev/null").spawn(&limited).unwrap().success(&limited).await;
    match alone.is_empty() {
        true => {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("more than 67108864 bytes of memory together"), "{error}");
            assert!(!group("memory", &scratch).exists(), "the group is gone with its last child");
        }
        false => assert!(error.is_err(), "no control group, but each child by itself: {alone:?}"),
    }
    let (child, pid) = started("sleep 600", &limited).await;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let address_space = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    match alone.is_empty() {
        true => assert!(group("memory", &scratch).is_dir(), "{}", group("memory", &scratch).display()),
        false => assert!(address_space.contains("67108864"), "{address_space}"),
    }
    child.kill().await;
}

#[tokio::test]
async fn children_get_no_more_processor_time_than_allowed() {
    let (limited, _scratch) = run(ChildLimits { cpu_percent: Some(20), ..ChildLimits::default() });
    let missing = missing(&limited);
    if !missing.is_empty() {
        assert!(missing[0].contains("processor limit"), "{missing:?}");
        // The job runs all the same.
        sh("exit 0").spawn(&limited).unwrap().success(&limited).await.unwrap();
        return;
    }
    let begun = Instant::now();
    let (child, pid) = started("(while :; do :; done) & while :; do :; done", &limited).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(group.contains("/dbsnap-"), "{group}");
    // Both loops share it: the time of the shell alone is below all that they may have.
    let ticks: u64 = stat(pid)[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    let used = Duration::from_millis(ticks * 10);
    assert!(used < begun.elapsed().mul_f64(0.35), "{used:?} of {:?}", begun.elapsed());
    assert!(used > Duration::from_millis(20), "it did run: {used:?}");
    child.kill().await;
}

/// What of the limits cannot be held here by a control group. It is told: a test that proves less should not pass in silence.
fn missing(run: &Run) -> Vec<String> {
    let missing = limits::unavailable(&run.limits);
    for reason in &missing {
        eprintln!("only a part is tested, because no control group can be made here: {reason}");
    }
    missing
}

/// Where the group of the operation with this scratch folder is, while it has one.
fn group(controller: &str, scratch: &TempDir) -> PathBuf {
    let name = format!("dbsnap-{}-{}", std::process::id(), scratch.path().file_name().unwrap().to_string_lossy());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted = |kind: &str, option: &str| {
        let line = mounts.lines().find(|line| {
            let system = line.split_once(" - ").unwrap().1;
            system.starts_with(kind) && (option.is_empty() || system.split([' ', ',']).any(|word| word == option))
        })?;
        let mut fields = line.split(' ').skip(3);
        Some((fields.next()?.to_owned(), PathBuf::from(fields.next()?)))
    };
    let below = |controllers: &dyn Fn(&str) -> bool, mount: (String, PathBuf)| {
        let path = own.lines().find_map(|line| {
            let (named, path) = line.split_once(':')?.1.split_once(':')?;
            controllers(named).then(|| path.to_owned())
        })?;
        Some(mount.1.join(Path::new(&path).strip_prefix(mount.0).unwrap_or(Path::new(""))).join(&name))
    };
    let first = mounted("cgroup ", controller).and_then(|mount| below(&|named| named.split(',').any(|one| one == controller), mount));
    // Version 2 has one folder for all. Under systemd this process is moved down into one of its own, beside the job's.
    let second = || {
        let found = mounted("cgroup2 ", "").and_then(|mount| below(&|named| named.is_empty(), mount))?;
        let parent = found.parent()?;
        Some(if parent.ends_with("dbsnap-main") { parent.parent()?.join(&name) } else { found })
    };
    first.or_else(second).expect("there is a control group file system")
}

#[tokio::test]
async fn children_of_one_job_come_and_go_without_losing_their_group() {
    let (limited, _scratch) = run(ChildLimits { memory_bytes: Some(256 << 20), ..ChildLimits::default() });
    let each = async || {
        for _ in 0..25 {
            sh("exit 0").spawn(&limited).unwrap().success(&limited).await.unwrap();
        }
    };
    tokio::join!(each(), each(), each(), each());
}

#[tokio::test]
async fn limits_add_nothing_to_the_environment_of_a_child() {
    let every = ChildLimits { nice: Some(5), idle_io: Some(true), memory_bytes: Some(256 << 20), cpu_percent: Some(150) };
    let told = async |limits| {
        let (run, _scratch) = run(limits);
        String::from_utf8(Program::new("env").env("PGUSER", "a b").output(1 << 16, &run).await.unwrap()).unwrap()
    };
    let (plain, limited) = (told(ChildLimits::default()).await, told(every).await);
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&plain), sorted(&limited));
}

#[tokio::test]
async fn what_a_child_starts_at_once_is_in_the_group_too() {
    let (limited, scratch) = run(ChildLimits { memory_bytes: Some(256 << 20), cpu_percent: Some(150), ..ChildLimits::default() });
    if !missing(&limited).is_empty() {
        // What a child starts takes over the limit of its address space.
        let told = sh("cat /proc/self/limits & wait").output(1 << 16, &limited).await.unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(told.lines().any(|line| line.starts_with("Max address space") && line.contains("268435456")), "{told}");
        return;
    }
    let name = format!("/dbsnap-{}-{}", std::process::id(), scratch.path().file_name().unwrap().to_string_lossy());
    for _ in 0..40 {
        let told = sh("cat /proc/self/cgroup & cat /proc/self/cgroup; wait").output(1 << 16, &limited).await.unwrap();
        let told = String::from_utf8(told).unwrap();
        let caged = told.lines().filter(|line| line.ends_with(&name)).count();
        assert!(caged >= 2 && caged % 2 == 0, "both are in each group: {told}");
    }
}
