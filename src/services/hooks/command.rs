//! Hooks that are programs in HOOKS_DIR.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{Facts, misconfigured, output::Output};
use crate::{
    domain::{
        run::Run,
        schedule::{Hook, HookStage},
    },
    engines::process::{Child, Program, is_program},
    error::{Error, Kind, Result},
};

/// How long the output of a program that has ended may stay open before what it left behind is ended.
const LINGER: Duration = Duration::from_millis(200);
/// Bytes kept of one fact: the whole environment of a program is limited.
const LONGEST_FACT: usize = 4096;

/// Runs the hook's program to its end, by argument list, with the facts in its environment. What it says goes to the log, up
/// to a limit. When it has ended, or its time is over, every process of its group is ended too.
pub(super) async fn run(folder: Option<&Path>, hook: &Hook, facts: &Facts, limit: Duration, run: &Run) -> Result<()> {
    let Some((name, args)) = hook.command.split_first() else {
        return Err(misconfigured("a hook has neither a command nor a url".into()));
    };
    let path = program(folder, name)?;
    let output = Arc::new(Output::new(name, Arc::clone(&run.observer)));
    let own = Run { cancel: run.cancel.child_token(), observer: output.clone(), ..run.clone() };
    let program =
        environment(facts).into_iter().fold(Program::new(path).args(args).stdout(), |program, (name, value)| program.env(name, value));
    let mut child = program.spawn(&own).map_err(|error| misconfigured(format!("the hook '{name}' cannot be started: {error}")))?;
    let work = async {
        match follow(&mut child, &output, &own).await {
            Ok(()) => child.wait(&own).await,
            Err(error) => {
                child.kill().await;
                Err(error)
            }
        }
    };
    tokio::pin!(work);
    let ended = tokio::select! {
        ended = &mut work => Some(ended),
        () = sleep(limit) => {
            own.cancel.cancel();
            // It is ended in the grace of the process's own end.
            let _ = work.await;
            None
        }
    };
    let last_words = output.close();
    let Some(ended) = ended else {
        return Err(failed(format!("the hook '{name}' took longer than {} s and was ended{last_words}", limit.as_secs()))
            .hint("raise the hook's timeoutSeconds, or find out what it waits for"));
    };
    let status = ended?.status;
    if status.success() {
        return Ok(());
    }
    Err(failed(format!("the hook '{name}' failed ({status}){last_words}")).hint("the job's log holds what it said"))
}

/// Another attempt may find what the hook needs.
fn failed(what: String) -> Error {
    Error::new(Kind::Backup, what).retryable()
}

/// Reads standard output until the program has ended and nothing of it is left. What the program left behind may hold the
/// output open: that is not waited for.
async fn follow(child: &mut Child, output: &Output, run: &Run) -> Result<()> {
    loop {
        child.begun(run).await?;
        match timeout(LINGER, child.head(1, run)).await {
            Ok(piece) => {
                let piece = piece?;
                if piece.is_empty() {
                    return Ok(());
                }
                output.feed(&piece);
            }
            Err(_) => return Ok(()),
        }
    }
}

/// The file of a hook: directly in the folder, not over a link that leads out of it, a program, and not to be changed by
/// just anybody. Errors say what is in the way.
pub(super) fn program(folder: Option<&Path>, name: &str) -> Result<PathBuf> {
    let Some(folder) = folder else {
        return Err(misconfigured(format!("the hook '{name}' is a command, and commands are off: HOOKS_DIR is not set"))
            .hint("set HOOKS_DIR to a folder with the programs that may run, or use a url"));
    };
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name) && !name.contains('\0');
    if !plain {
        return Err(misconfigured(format!("the hook '{name}' is not the name of a file in HOOKS_DIR")).hint("give its name without a path"));
    }
    let at = folder.display();
    let real =
        |path: &Path, what: &str| path.canonicalize().map_err(|cause| misconfigured(format!("{what} cannot be found")).source(cause));
    let real_folder = real(folder, &format!("HOOKS_DIR ({at})"))?;
    let path = real(&folder.join(name), &format!("the hook '{name}' in {at}"))?;
    if path.parent() != Some(&real_folder) {
        return Err(misconfigured(format!("the hook '{name}' is a link that leads out of {at}")).hint("copy the program into the folder"));
    }
    if !is_program(&path) {
        return Err(misconfigured(format!("the hook '{name}' in {at} is not a program")).hint("make the file executable"));
    }
    for place in [&real_folder, &path] {
        let mode = place.metadata().map_err(|cause| misconfigured(format!("the hook '{name}' cannot be looked at")).source(cause))?;
        if mode.permissions().mode() & 0o002 != 0 {
            return Err(misconfigured(format!("{} can be changed by every user of this machine", place.display()))
                .hint(format!("run chmod o-w {}", place.display())));
        }
    }
    Ok(path)
}

fn environment(facts: &Facts) -> Vec<(&'static str, String)> {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let stage = match facts.stage {
        HookStage::Before => "before",
        HookStage::After => "after",
    };
    let facts = vec![
        ("DBSNAP_STAGE", stage.to_owned()),
        ("DBSNAP_BACKUP_ID", facts.backup_id.to_string()),
        ("DBSNAP_DATABASE", facts.database.clone()),
        ("DBSNAP_ENGINE", facts.engine.clone()),
        ("DBSNAP_TYPE", facts.kind.to_string()),
        ("DBSNAP_STATUS", facts.status.to_string()),
        ("DBSNAP_SCHEDULE", facts.schedule.clone()),
        ("DBSNAP_JOB_ID", facts.job_id.to_string()),
        ("DBSNAP_ATTEMPT", facts.attempt.to_string()),
        ("DBSNAP_CREATED_AT", facts.created_at.to_string()),
        ("DBSNAP_SIZE_BYTES", number(facts.size_bytes)),
        ("DBSNAP_DURATION_MS", number(facts.duration_ms)),
        ("DBSNAP_ROWS", number(facts.rows)),
        ("DBSNAP_ERROR", facts.error.clone().unwrap_or_default()),
    ];
    facts.into_iter().map(|(name, value)| (name, fit(&value))).collect()
}

/// As an environment can hold it: without NUL, not too long.
fn fit(value: &str) -> String {
    let end = (0..=LONGEST_FACT.min(value.len())).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    value[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_programs_that_are_in_the_folder_itself_may_run() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("hooks");
        fs::create_dir(&folder).unwrap();
        let write = |path: &Path, mode: u32| {
            fs::write(path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&folder.join("good"), 0o755);
        write(&folder.join("plain"), 0o644);
        write(&folder.join("open"), 0o757);
        write(&place.path().join("outside"), 0o755);
        fs::create_dir(folder.join("inner")).unwrap();
        write(&folder.join("inner/deep"), 0o755);
        symlink("../outside", folder.join("away")).unwrap();
        symlink("inner/deep", folder.join("deeper")).unwrap();
        symlink("good", folder.join("also-good")).unwrap();
        symlink("/nowhere", folder.join("dangling")).unwrap();
        for name in ["good", "also-good"] {
            assert_eq!(program(Some(&folder), name).unwrap(), folder.join("good").canonicalize().unwrap(), "{name}");
        }
        for (name, why) in [
            ("plain", "is not a program"),
            ("open", "can be changed by every user"),
            ("inner", "is not a program"),
            ("missing", "cannot be found"),
            ("dangling", "cannot be found"),
            ("away", "leads out of"),
            ("deeper", "leads out of"),
            ("../outside", "is not the name of a file"),
            ("inner/deep", "is not the name of a file"),
            ("./good", "is not the name of a file"),
            ("good/", "is not the name of a file"),
            ("/bin/sh", "is not the name of a file"),
            ("..", "is not the name of a file"),
            (".", "is not the name of a file"),
            ("", "is not the name of a file"),
            ("go\0od", "is not the name of a file"),
        ] {
            let error = program(Some(&folder), name).unwrap_err();
            assert!(error.to_string().contains(why) && !error.retryable, "{name:?}: {error}");
        }
        assert!(program(None, "good").unwrap_err().to_string().contains("HOOKS_DIR is not set"));
    }

    #[test]
    fn a_fact_always_fits_an_environment() {
        assert_eq!(fit("a\0b"), "a\u{fffd}b");
        assert_eq!(fit(&"é".repeat(LONGEST_FACT)).len(), LONGEST_FACT);
    }
}
