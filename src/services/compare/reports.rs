//! Reports that are open: those still being written, which pages read too, and the last ones that were looked at.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::report_path;
use crate::{
    diff::Report,
    domain::{
        diff::{Diff, DiffStatus},
        ids::DiffId,
    },
    error::{Context, Error, Kind, Result},
    pipeline::keys::KeyRing,
    services::Ctx,
    snapshot::FileAt,
};

/// Finished reports that stay open.
const KEPT: usize = 8;

#[derive(Default)]
pub struct Reports {
    writing: Mutex<HashMap<DiffId, Report>>,
    /// The one looked at last is last.
    finished: Mutex<Vec<(DiffId, Report)>>,
}

impl Reports {
    /// The report is being written: it can be read until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, id: DiffId, report: Report) -> Writing {
        lock(&self.writing).insert(id, report);
        Writing { reports: Arc::clone(self), id }
    }

    /// The report was removed.
    pub(super) fn forget(&self, id: DiffId) {
        lock(&self.finished).retain(|(other, _)| *other != id);
    }
}

/// A report that is being written.
pub(super) struct Writing {
    reports: Arc<Reports>,
    id: DiffId,
}

impl Drop for Writing {
    fn drop(&mut self) {
        lock(&self.reports.writing).remove(&self.id);
    }
}

/// Reads a comparison's report on a thread where that may block. Errors with `CONFLICT` where it has none.
pub(super) async fn read<T: Send + 'static>(ctx: &Ctx, diff: &Diff, work: impl FnOnce(&Report) -> Result<T> + Send + 'static) -> Result<T> {
    let (reports, keys, path) = (Arc::clone(&ctx.diff_reports), ctx.keys.clone(), report_path(ctx, diff.id));
    let (id, status) = (diff.id, diff.status);
    let reading = tokio::task::spawn_blocking(move || work(&reports.open(id, status, &path, &keys)?));
    reading.await.context(Kind::Internal, || "reading the report of the comparison".into())?
}

impl Reports {
    /// The report, from those that are open or from its file.
    fn open(&self, id: DiffId, status: DiffStatus, path: &Path, keys: &KeyRing) -> Result<Report> {
        if let Some(report) = lock(&self.writing).get(&id) {
            return Ok(report.clone());
        }
        // Between the end of the writing and the row that says so the file is whole already.
        if !matches!(status, DiffStatus::Completed | DiffStatus::Running) {
            return Err(Error::conflict(format!("the comparison is {status}: it has no changes to show")));
        }
        let mut finished = lock(&self.finished);
        if let Some(at) = finished.iter().position(|(other, _)| *other == id) {
            let found = finished.remove(at);
            finished.push(found.clone());
            return Ok(found.1);
        }
        drop(finished);
        if status == DiffStatus::Running && !path.exists() {
            return Err(Error::conflict("the comparison has only begun: there are no changes to show yet"));
        }
        let opened = FileAt::open(path).and_then(|file| Report::open(Arc::new(file), Some(keys)));
        let report = opened.map_err(|error| error.while_doing("opening the report of the comparison").hint("run the comparison again"))?;
        let mut finished = lock(&self.finished);
        finished.push((id, report.clone()));
        if finished.len() > KEPT {
            finished.remove(0);
        }
        Ok(report)
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
