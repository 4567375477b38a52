//! What the children of one operation may take of the machine: niceness, the idle class of disks, memory, processors.
//!
//! A control group holds memory and processor time of all children together, where this process may make one. The rest
//! is set by small programs that every Linux has (`nice`, `ionice`, `prlimit`): each lowers what it is asked to and
//! becomes the next program, so that a limit holds from the first instruction of the tool on.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    cgroup::{Cage, Place},
    is_program, path_dirs,
};
use crate::{
    domain::run::ChildLimits,
    error::{Error, Result},
};

/// The largest niceness there is.
const NICEST: u8 = 19;
/// Enters the control group whose file is `$0`, then becomes the program that its arguments name. It leaves no variable of its own.
const ENTER: &str = r#"echo 0 >"$0" || { echo "error: the control group $0 could not be entered" >&2; exit 126; }; unset PWD; exec "$@""#;

/// What of these limits this machine cannot hold, for the log of the operation.
pub fn unavailable(limits: &ChildLimits) -> Vec<String> {
    let place = Place::here();
    let mut said = Vec::new();
    let mut missing = |wanted: bool, program: &str, what: &str| {
        if wanted && find(program).is_none() {
            said.push(format!("{what} is not available: the program {program} is not on this machine"));
        }
    };
    missing(limits.nice.is_some(), "nice", "niceness of child processes");
    missing(limits.idle_io == Some(true), "ionice", "giving way to others on disks");
    missing(limits.memory_bytes.is_some() && place.memory.is_none(), "prlimit", "a memory limit of child processes");
    if limits.memory_bytes.is_some() && place.memory.is_none() && find("prlimit").is_some() {
        said.push(
            "no control group can be made here: the memory limit holds for each child process by itself, not for all together".into(),
        );
    }
    if limits.cpu_percent.is_some() && place.cpu.is_none() {
        said.push("a processor limit of child processes is not available: no control group can be made here".into());
    }
    said
}

/// The program and its arguments behind those that set its limits. Errors when there is no such program, which the
/// programs before it would tell less clearly.
pub(super) fn wrapped(path: PathBuf, args: Vec<OsString>, limits: &ChildLimits, cage: &Cage) -> Result<(PathBuf, Vec<OsString>)> {
    let mut before: Vec<OsString> = Vec::new();
    for entrance in cage.entrances() {
        before.extend(["/bin/sh".into(), "-c".into(), ENTER.into(), entrance.into()]);
    }
    let mut put = |program: &str, options: &[&str]| {
        if let Some(found) = find(program) {
            before.push(found.into());
            before.extend(options.iter().map(OsString::from));
            before.push("--".into());
        }
    };
    if let (Some(bytes), false) = (limits.memory_bytes, cage.holds_memory()) {
        put("prlimit", &[&format!("--as={bytes}")]);
    }
    if limits.idle_io == Some(true) {
        put("ionice", &["-c", "3"]);
    }
    if let Some(nice) = limits.nice {
        put("nice", &["-n", &nice.min(NICEST).to_string()]);
    }
    if before.is_empty() {
        return Ok((path, args));
    }
    let named = path.components().count() == 1 && path_dirs().iter().any(|folder| is_program(&folder.join(&path)));
    if !named && !is_program(&path) {
        return Err(Error::internal(format!("starting {}: there is no such program, or it may not be executed", path.display())));
    }
    let first = PathBuf::from(before.remove(0));
    before.push(path.into());
    before.extend(args);
    Ok((first, before))
}

pub(super) fn find(program: &str) -> Option<PathBuf> {
    let usual = ["/usr/bin", "/bin"].map(PathBuf::from);
    path_dirs().iter().chain(&usual).map(|folder| folder.join(program)).find(|path: &PathBuf| Path::is_absolute(path) && is_program(path))
}
