//! Copying databases page by page through SQLite's online backup API (<https://www.sqlite.org/backup.html>).

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, MAIN_DB,
    backup::{Backup, StepResult},
};

use super::{ask, connect::Source, connect::patiently, faults::fault};
use crate::{
    domain::{events::Progress, run::Run, time::Moment},
    error::{Error, Kind, Result},
};

/// Pages between two looks for a cancel.
const STEP: i32 = 1024;

/// Pages that are copied under one lock where writers have to wait meanwhile, and the pause in which they get their turn.
const SHORT_STEP: i32 = 256;
const PAUSE: Duration = Duration::from_millis(2);

/// How often a copy that writers made stale begins again before the writers have to wait.
const RESTARTS: u32 = 3;

/// How the pages of one copy are taken.
struct Pace {
    step: i32,
    pause: Duration,
    /// Give up when the copy has begun anew this often.
    restarts: u32,
}

const IN_ONE_GO: Pace = Pace { step: STEP, pause: Duration::ZERO, restarts: u32::MAX };
const IN_TURNS: Pace = Pace { step: SHORT_STEP, pause: PAUSE, restarts: RESTARTS };

/// Copies a live database into an empty one. Returns the moment whose content the copy has.
///
/// With a write-ahead log one read transaction holds the moment and disturbs nobody. With a rollback journal a reader
/// keeps writers waiting, so short steps take turns with them; a commit in between makes SQLite begin again, and when
/// that does not end, the rest is copied in one read transaction.
pub(super) fn copy_live(source: &Source, into: &mut Connection, patience: Duration, run: &Run) -> Result<Moment> {
    let connection = source.connection();
    let failed = |cause| fault(Kind::Backup, "copying", &source.path, cause);
    let mode: String = source.ask("PRAGMA journal_mode", patience, run)?;
    if mode != "wal" {
        if let Some(moment) = copy(connection, into, &IN_TURNS, patience, run, &failed)? {
            return Ok(moment);
        }
        run.warn("other connections keep writing: they wait while the database is copied in one go");
    }
    connection.execute_batch("BEGIN").map_err(failed)?;
    source.ask::<i64>("SELECT count(*) FROM sqlite_schema", patience, run)?;
    let moment = Moment::now();
    let copied = copy(connection, into, &IN_ONE_GO, patience, run, &failed);
    connection.execute_batch("ROLLBACK").map_err(failed)?;
    copied.map(|_| moment)
}

/// Replaces the whole content of the database `into` at `path`, as one transaction on it: other connections see the old
/// content or the new. When this ends early, the old content stays.
pub(super) fn replace(from: &Connection, into: &mut Connection, path: &Path, patience: Duration, run: &Run) -> Result<()> {
    let failed = |cause| fault(Kind::Restore, "nothing was changed: replacing", path, cause);
    copy(from, into, &IN_ONE_GO, patience, run, &failed).map(|_| ())
}

/// The moment at which the last pass began; `None` when the pace's restarts are used up.
fn copy(
    from: &Connection,
    into: &mut Connection,
    pace: &Pace,
    patience: Duration,
    run: &Run,
    failed: &dyn Fn(rusqlite::Error) -> Error,
) -> Result<Option<Moment>> {
    let page_size: u32 = patiently(run, patience, || ask(from, "PRAGMA page_size"))?.map_err(failed)?;
    let backup = Backup::new_with_names(from, MAIN_DB, into, MAIN_DB).map_err(failed)?;
    let (mut moment, mut done, mut restarts) = (Moment::now(), 0, 0);
    let mut blocked: Option<Instant> = None;
    loop {
        run.check()?;
        match backup.step(pace.step).map_err(failed)? {
            StepResult::Done => return Ok(Some(moment)),
            StepResult::Busy | StepResult::Locked => {
                let since = *blocked.get_or_insert_with(Instant::now);
                if since.elapsed() >= patience {
                    return Err(failed(locked()));
                }
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            // Including kinds of results that later versions may add.
            _ => blocked = None,
        }
        let progress = backup.progress();
        let now_done = progress.pagecount - progress.remaining;
        if now_done <= done {
            restarts += 1;
            moment = Moment::now();
            run.debug(format!("another connection committed: copying begins again ({restarts})"));
            if restarts > pace.restarts {
                return Ok(None);
            }
        }
        done = now_done;
        let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * u64::from(page_size);
        run.progress(&Progress {
            stage: "copying".into(),
            bytes: bytes(done),
            total_bytes: Some(bytes(progress.pagecount)),
            ..Progress::default()
        });
        if !pace.pause.is_zero() {
            std::thread::sleep(pace.pause);
        }
    }
}

/// What SQLite's functions other than a backup's answer when a lock is not to be had.
fn locked() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), Some("the database is locked".to_owned()))
}
