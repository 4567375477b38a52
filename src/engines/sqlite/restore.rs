//! Restoring. The backup is first spooled to the scratch folder and proven whole; only then is the target touched, and
//! a failure leaves it as it was.
//!
//! | mode | how the target changes |
//! |---|---|
//! | new | built as a temporary file beside it, synced, renamed to a name that must be free |
//! | drop | every page replaced through SQLite's backup API, one transaction: no file is renamed under connections that have it open |
//! | clean, append | one transaction on the target, see `merge` |

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, types::Value};
use rustix::{fs::RenameFlags, io::Errno};

use super::{
    ask, check,
    connect::{self, beside, patience, patiently},
    copy, dump,
    faults::fault,
    merge::{self, Merge},
    on_thread, path_of, quote,
};
use crate::{
    domain::{
        artifact::{ArtifactKind, TableCount},
        events::Progress,
        fields::SettingsExt,
        restore::{RestoreContent, RestoreMode},
        run::Run,
    },
    engines::{RestoreOutcome, RestoreRequest, spool},
    error::{Error, Kind, Result},
};

pub(super) async fn restore(request: RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome> {
    let plan = request.plan;
    let job = Job {
        target: path_of(plan.target_name.as_deref().or_else(|| request.settings.text("path")))?,
        spool: run.scratch.join(format!("restore-{}.db", uuid::Uuid::new_v4().simple())),
        merge: Merge {
            mode: plan.mode,
            content: plan.content,
            tables: plan.tables.clone(),
            ignore_foreign_keys: plan.engine.flag("ignoreForeignKeys"),
        },
        expected: request.expected.to_vec(),
        patience: patience(&plan.engine),
    };
    job.check_plan()?;
    let _removed_afterwards = Remove(job.spool.clone());
    spool(request.source.open(ArtifactKind::Dump).await?, &job.spool, (), |(), _| Ok(()), run).await?;
    on_thread(run, move |run| job.run(run)).await
}

struct Job {
    target: PathBuf,
    /// The backup, in the scratch folder.
    spool: PathBuf,
    merge: Merge,
    expected: Vec<TableCount>,
    patience: Duration,
}

impl Job {
    /// What can be refused before any byte is read.
    fn check_plan(&self) -> Result<()> {
        let whole = matches!(self.merge.mode, RestoreMode::New | RestoreMode::Drop);
        if whole && self.merge.content == RestoreContent::Data {
            return Err(Error::validation("data alone needs tables that it can go to").hint("use mode 'clean' or 'append', or restore all"));
        }
        if self.merge.mode == RestoreMode::New {
            self.check_free_name()?;
        }
        Ok(())
    }

    fn check_free_name(&self) -> Result<()> {
        // A journal beside a new file would be taken for its own and replayed into it.
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let path = beside(&self.target, suffix);
            if path.symlink_metadata().is_ok() {
                return Err(Error::conflict(format!("{} exists already", path.display()))
                    .hint("choose another path, remove it, or restore with mode 'drop' to replace the database"));
            }
        }
        Ok(())
    }

    fn run(self, run: &Run) -> Result<RestoreOutcome> {
        let (backup, mut warnings) = self.open_spool(run)?;
        let mut outcome = match self.merge.mode {
            RestoreMode::New => self.make(backup, run)?,
            RestoreMode::Drop if self.target.symlink_metadata().is_err() => self.make(backup, run)?,
            RestoreMode::Drop => self.replace(backup, run)?,
            RestoreMode::Clean | RestoreMode::Append => {
                drop(backup);
                let target = connect::target(&self.target, run)?;
                merge::merge(&target, &self.target, &self.spool, &self.merge, self.patience, run)?
            }
        };
        warnings.append(&mut outcome.warnings);
        outcome.warnings = warnings;
        Ok(outcome)
    }

    /// Opens the spooled backup after proving that it is a whole, sound database with the expected rows.
    fn open_spool(&self, run: &Run) -> Result<(Connection, Vec<String>)> {
        stage(run, "checking");
        let size = std::fs::metadata(&self.spool)
            .map_err(|cause| Error::new(Kind::Storage, format!("reading {}", self.spool.display())).source(cause))?
            .len();
        dump::head(&self.spool)?.check_size(size)?;
        let backup = connect::untrusted(&self.spool, run)?;
        let failed = |cause| fault(Kind::Restore, "checking the backup in", &self.spool, cause);
        // An upload may come from a database with a write-ahead log.
        ask::<String>(&backup, "PRAGMA journal_mode = DELETE").map_err(failed)?;
        let findings = check::integrity(&backup).map_err(failed)?;
        if !findings.damage.is_empty() {
            return Err(Error::new(Kind::Restore, format!("the backup is damaged and nothing was changed: {}", findings.summary()))
                .hint("use another backup"));
        }
        let (counts, mut notes) = check::counts(&backup, "main").map_err(failed)?;
        check::compare(&self.expected, &counts, Kind::Restore, "the backup")?;
        notes.extend(findings.warnings.into_iter().take(20));
        Ok((backup, notes))
    }

    fn is_partial(&self) -> bool {
        self.merge.content != RestoreContent::All || !self.merge.tables.is_empty()
    }

    /// A database file at `path` that holds what was chosen, and its rows.
    fn build(&self, backup: Connection, path: &Path, run: &Run) -> Result<RestoreOutcome> {
        let reading = |cause| fault(Kind::Restore, "reading the backup in", &self.spool, cause);
        if !self.is_partial() {
            let (tables, _) = check::counts(&backup, "main").map_err(reading)?;
            backup.close().map_err(|(_, cause)| reading(cause))?;
            copy_file(&self.spool, path)?;
            return Ok(RestoreOutcome { tables, warnings: Vec::new() });
        }
        let fresh = connect::create(path, run)?;
        let making = |cause| fault(Kind::Restore, "making", path, cause);
        let encoding: String = ask(&backup, "PRAGMA encoding").map_err(reading)?;
        fresh.execute_batch(&format!("PRAGMA encoding = {}", quote(&encoding))).map_err(making)?;
        for pragma in ["page_size", "auto_vacuum", "application_id", "user_version"] {
            let value: i64 = ask(&backup, &format!("PRAGMA {pragma}")).map_err(reading)?;
            fresh.execute_batch(&format!("PRAGMA {pragma} = {value}")).map_err(making)?;
        }
        drop(backup);
        let outcome = merge::merge(&fresh, path, &self.spool, &self.merge, self.patience, run)?;
        fresh.close().map_err(|(_, cause)| making(cause))?;
        Ok(outcome)
    }

    /// Makes a database under a name that is free.
    fn make(&self, backup: Connection, run: &Run) -> Result<RestoreOutcome> {
        let failed = |doing: &str, cause: io::Error| Error::new(Kind::Restore, format!("{doing} {}", self.target.display())).source(cause);
        let folder = self.target.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(|cause| failed("making the folder of", cause))?;
        let name = self.target.file_name().ok_or_else(|| Error::validation("the target path names no file"))?;
        let building = folder.join(format!(".{}.{}", name.to_string_lossy(), uuid::Uuid::new_v4().simple()));
        let _removed_on_failure = [Remove(building.clone()), Remove(beside(&building, "-journal"))];
        let outcome = self.build(backup, &building, run)?;
        self.verify(&building, &outcome.tables, run)?;
        File::open(&building).and_then(|file| file.sync_all()).map_err(|cause| failed("writing", cause))?;
        run.check()?;
        self.check_free_name()?;
        rename_to_free(&building, &self.target).map_err(|cause| match cause {
            Errno::EXIST => Error::conflict(format!("{} was made by somebody else meanwhile", self.target.display())),
            cause => failed("naming", cause.into()),
        })?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|cause| failed("writing the folder of", cause))?;
        Ok(outcome)
    }

    /// Replaces the content of a database that others may have open.
    fn replace(&self, backup: Connection, run: &Run) -> Result<RestoreOutcome> {
        let built = beside(&self.spool, "-built");
        let _removed_afterwards = Remove(built.clone());
        let (outcome, staged) = if self.is_partial() {
            let outcome = self.build(backup, &built, run)?;
            (outcome, connect::untrusted(&built, run)?)
        } else {
            let counted = check::counts(&backup, "main").map_err(|cause| fault(Kind::Restore, "reading", &self.spool, cause))?;
            (RestoreOutcome { tables: counted.0, warnings: Vec::new() }, backup)
        };
        let mut outcome = outcome;
        let failed = |cause| fault(Kind::Restore, "replacing", &self.target, cause);
        let mut target = connect::target(&self.target, run)?;
        let mode: String = patiently(run, self.patience, || ask(&target, "PRAGMA journal_mode"))?.map_err(failed)?;
        let differs = |pragma: &str| {
            let sql = format!("PRAGMA {pragma}");
            let [old, new] = [ask::<Value>(&target, &sql).map_err(failed)?, ask::<Value>(&staged, &sql).map_err(failed)?];
            Ok::<bool, Error>(old != new)
        };
        if differs("encoding")? {
            outcome.warnings.push("the text encoding has changed: applications that have the database open must open it again".into());
        }
        // A write-ahead log cannot hold pages of two sizes: the log goes for the time of the restore.
        let resized = mode == "wal" && differs("page_size")?;
        if resized {
            patiently(run, self.patience, || ask::<String>(&target, "PRAGMA journal_mode = DELETE"))?.map_err(failed)?;
        }
        stage(run, "replacing");
        let replaced = copy::replace(&staged, &mut target, &self.target, self.patience, run);
        drop(target);
        let target = connect::target(&self.target, run)?;
        if resized {
            patiently(run, self.patience, || ask::<String>(&target, "PRAGMA journal_mode = WAL"))?.map_err(failed)?;
        }
        replaced?;
        // Another connection may write from now on: its rows are no fault of the restore.
        let version: i64 = ask(&target, "PRAGMA data_version").map_err(failed)?;
        if let Err(difference) = self.verify_open(&target, &outcome.tables) {
            if ask::<i64>(&target, "PRAGMA data_version").map_err(failed)? == version {
                return Err(difference);
            }
            outcome.warnings.push(format!("another connection has written since the restore: {difference}"));
        }
        Ok(outcome)
    }

    fn verify(&self, path: &Path, tables: &[TableCount], run: &Run) -> Result<()> {
        stage(run, "verifying");
        self.verify_open(&connect::untrusted(path, run)?, tables)
    }

    fn verify_open(&self, restored: &Connection, tables: &[TableCount]) -> Result<()> {
        let failed = |cause| fault(Kind::Restore, "verifying", &self.target, cause);
        let findings = check::integrity(restored).map_err(failed)?;
        if !findings.damage.is_empty() {
            return Err(Error::new(
                Kind::Restore,
                format!("{} is damaged after the restore: {}", self.target.display(), findings.summary()),
            )
            .hint("check the disk, then restore again"));
        }
        let (found, _) = check::counts(restored, "main").map_err(failed)?;
        check::compare(tables, &found, Kind::Restore, &self.target.display().to_string())
    }
}

pub(super) fn stage(run: &Run, stage: &str) {
    run.progress(&Progress { stage: stage.into(), ..Progress::default() });
}

/// Copies a file to a new one (0600).
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let copied = File::open(from).and_then(|mut from| {
        let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        io::copy(&mut from, &mut to)
    });
    copied.map(|_| ()).map_err(|cause| {
        let error = Error::new(Kind::Restore, format!("writing {}", to.display()));
        match cause.kind() {
            io::ErrorKind::StorageFull => error.hint("free space on the disk that holds it"),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                error.hint("make its folder writable for the user that runs DBSnap")
            }
            _ => error,
        }
        .source(cause)
    })
}

/// Gives a file a name that nothing has; two names for a moment where the file system cannot do it in one step.
fn rename_to_free(from: &Path, to: &Path) -> rustix::io::Result<()> {
    use rustix::fs::CWD;

    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rustix::fs::link(from, to),
        done => done,
    }
}

/// Removes a file when it goes out of scope; one that is not there is no matter.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
