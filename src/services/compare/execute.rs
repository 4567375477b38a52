//! A comparison job's work, and what its row says about it.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    between::{self, Sides},
    check_backup,
    live::Live,
    report_path,
    sides::Side,
    status_for,
    telling::Telling,
};
use crate::{
    db::{self, lock::make_private_dir},
    diff::{ReportWriter, summary_text},
    domain::{
        database::Settings,
        diff::{Diff, DiffOptions, DiffStatus, DiffSummary, SideRef},
        fields::validate,
        ids::{DiffId, OrganizationId},
        job::{Job, JobStatus},
        run::Run,
    },
    engines::{self, Engine},
    error::{Context, Error, Kind, Result},
    services::{
        Ctx, databases, jobs,
        snapshots::{self, keys},
    },
    snapshot::FileAt,
};

pub(in crate::services) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = job.diff_id.ok_or_else(|| Error::internal("a comparison job without a comparison"))?;
    let diff = db::diffs::get(&ctx.db, organization, id).await?;
    if diff.status == DiffStatus::Completed {
        return Ok(());
    }
    // Whatever an earlier attempt wrote is of another moment.
    remove_report(ctx, id).await?;
    db::diffs::mark_running(&ctx.db, id, ctx.now()).await?;
    run.info(format!("comparing {} with {} of {}", diff.before_label, diff.after_label, diff.database_name));
    let telling = Arc::new(Telling::new(run));
    let sides = open_sides(ctx, organization, &diff, &telling, run).await?;
    let (summary, size) = on_thread(ctx, diff, sides, telling, run).await?;
    for note in &summary.provenance.notes {
        run.info(note);
    }
    run.info(summary_text(&summary));
    let provenance = &summary.provenance;
    run.info(format!(
        "{} rows, {} of them not read; {} ms; report of {size} bytes",
        provenance.rows, provenance.rows_skipped, provenance.duration_ms
    ));
    db::diffs::complete(&ctx.db, id, &summary, size, ctx.now()).await
}

/// Compares where blocking is allowed, and makes the report last.
async fn on_thread(ctx: &Arc<Ctx>, diff: Diff, sides: Sides, telling: Arc<Telling>, run: &Run) -> Result<(DiffSummary, u64)> {
    let (ctx, run, handle) = (Arc::clone(ctx), run.clone(), Handle::current());
    let working = tokio::task::spawn_blocking(move || {
        let path = report_path(&ctx, diff.id);
        make_private_dir(&ctx.reports())?;
        let file = new_file(&path)?;
        let mut writer = ReportWriter::new(output(&file, &path)?, &diff.engine, &diff.database_name, Some(keys::lock(&ctx.keys)))?;
        let _readable = ctx.diff_reports.begin(diff.id, writer.reader(Arc::new(FileAt::open(&path)?)));
        let mut told = |summary: &DiffSummary| handle.block_on(db::diffs::save_progress(&ctx.db, diff.id, summary));
        let summary = between::compare(&sides, &diff.options, &mut writer, &telling, &run, &mut told)?;
        run.check()?;
        let size = writer.finish(&summary)?;
        let synced = file.sync_all().and_then(|()| File::open(ctx.reports())?.sync_all());
        synced.context(Kind::Storage, || format!("writing {}", path.display()))?;
        Ok((summary, size))
    });
    working.await.context(Kind::Internal, || "comparing".into())?
}

fn new_file(path: &Path) -> Result<File> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.context(Kind::Storage, || format!("making {}", path.display()))
}

/// Writes what comes to a file.
fn output(file: &File, path: &Path) -> Result<Box<dyn FnMut(Bytes) -> Result<()> + Send>> {
    let naming = format!("writing {}", path.display());
    let mut file = file.try_clone().context(Kind::Storage, || naming.clone())?;
    Ok(Box::new(move |bytes| file.write_all(&bytes).context(Kind::Storage, || naming.clone())))
}

async fn open_sides(ctx: &Arc<Ctx>, organization: OrganizationId, diff: &Diff, telling: &Arc<Telling>, run: &Run) -> Result<Sides> {
    let scope = scope_of(ctx, organization, diff).await?;
    let before = open_side(ctx, organization, diff, diff.before, &scope, telling, run).await?;
    let after = open_side(ctx, organization, diff, diff.after, &scope, telling, run).await?;
    Ok(Sides { before, after, before_label: diff.before_label.clone(), after_label: diff.after_label.clone() })
}

/// The dump options of the backup: what it left out is left out of the live database too.
async fn scope_of(ctx: &Ctx, organization: OrganizationId, diff: &Diff) -> Result<Settings> {
    match (diff.before, diff.after) {
        (SideRef::BackupId(id), SideRef::DatabaseId(_)) | (SideRef::DatabaseId(_), SideRef::BackupId(id)) => {
            Ok(db::backups::get(&ctx.db, organization, id).await?.options.engine)
        }
        _ => Ok(Settings::new()),
    }
}

async fn open_side(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    diff: &Diff,
    side: SideRef,
    scope: &Settings,
    telling: &Arc<Telling>,
    run: &Run,
) -> Result<Side> {
    match side {
        SideRef::BackupId(id) => {
            let backup = db::backups::get(&ctx.db, organization, id).await.map_err(|error| match error.kind {
                Kind::NotFound => Error::conflict("a backup to compare was deleted"),
                _ => error,
            })?;
            check_backup(&backup)?;
            Ok(Side::Snapshot(snapshots::open_for(ctx, organization, &backup, run).await?))
        }
        SideRef::DatabaseId(id) => {
            let database = db::databases::get(&ctx.db, organization, id).await?;
            let engine = engines::find(&database.engine)?;
            let settings = databases::open_settings(ctx, &database)?;
            // Links may lead elsewhere since the database was configured.
            databases::refuse_own_files(ctx, engine, &settings)?;
            let live = open_live(engine, &settings, scope, &diff.options, telling, run).await;
            databases::keep_learned(ctx, organization, id, &settings, run).await;
            Ok(Side::Live(Box::new(live?)))
        }
    }
}

/// Opens one moment of a live database, with the scope of these dump options and the limits of the comparison's.
pub async fn open_live(
    engine: &'static dyn Engine,
    settings: &Settings,
    scope: &Settings,
    options: &DiffOptions,
    telling: &Arc<Telling>,
    run: &Run,
) -> Result<Live> {
    let mut dump_options = scope.clone();
    let limits = [
        ("statementTimeoutSeconds", options.statement_timeout_seconds),
        ("lockTimeoutSeconds", options.lock_timeout_seconds),
        ("busyTimeout", options.lock_timeout_seconds.min(3600)),
    ];
    for (name, seconds) in limits {
        if engine.info().dump_options.iter().any(|field| field.name == name) {
            dump_options.insert(name.to_owned(), seconds.into());
        }
    }
    let dump_options = validate(engine.info().dump_options, &dump_options)?;
    let source = engine.open_source(settings, &dump_options, run).await?;
    for warning in &source.facts().warnings {
        run.warn(warning);
    }
    Ok(Live::new(source, options.rows_per_second, Arc::clone(telling), Handle::current(), run.clone()))
}

/// Marks the row of a job that did not complete, and removes what it wrote.
pub(in crate::services) async fn settle(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    outcome: JobStatus,
    error: Option<&str>,
) -> Result<()> {
    let Some(id) = job.diff_id else { return Ok(()) };
    let diff = match db::diffs::get(&ctx.db, organization, id).await {
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        found => found?,
    };
    if diff.status == DiffStatus::Completed {
        return Ok(());
    }
    remove_report(ctx, id).await?;
    db::diffs::finish(&ctx.db, id, status_for(outcome), error, ctx.now()).await?;
    Ok(())
}

/// At start: ends comparisons whose job never came into the queue, and removes the files that no comparison has. Those of
/// interrupted jobs are settled with their job.
pub(in crate::services) async fn recover(ctx: &Arc<Ctx>) -> Result<()> {
    for (organization, diff) in db::diffs::unfinished(&ctx.db).await? {
        if !jobs::is_open(ctx, organization, diff.job_id).await? {
            let error = Some("the process ended before the comparison was queued");
            db::diffs::finish(&ctx.db, diff.id, DiffStatus::Interrupted, error, ctx.now()).await?;
        }
    }
    let kept: HashSet<_> = db::diffs::completed(&ctx.db).await?.into_iter().map(|id| report_path(ctx, id)).collect();
    let folder = ctx.reports();
    let listing = || format!("listing {}", folder.display());
    let mut entries = match tokio::fs::read_dir(&folder).await {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.context(Kind::Storage, listing)?,
    };
    while let Some(entry) = entries.next_entry().await.context(Kind::Storage, listing)? {
        let path = entry.path();
        if !kept.contains(&path) {
            match tokio::fs::remove_file(&path).await {
                Ok(()) => tracing::info!(path = %path.display(), "removed what an unfinished comparison left"),
                Err(cause) => tracing::warn!(path = %path.display(), %cause, "an old report could not be removed"),
            }
        }
    }
    Ok(())
}

/// Removes the report of a comparison, if there is one.
pub(in crate::services) async fn remove_report(ctx: &Ctx, id: DiffId) -> Result<()> {
    ctx.diff_reports.forget(id);
    let path = report_path(ctx, id);
    match tokio::fs::remove_file(&path).await {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.context(Kind::Storage, || format!("removing {}", path.display())),
    }
}
