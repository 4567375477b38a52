//! What is told when a job is over: not of each attempt, but of how it ended.

use std::sync::Arc;

use super::{
    alerts, fact_last_good, found, group, raise, unusual,
    words::{self, cause_and_step},
};
use crate::{
    db,
    domain::{
        amount,
        backup::{Backup, BackupStatus, VerifyState},
        ids::{BackupId, OrganizationId},
        job::{Job, JobKind, JobStatus},
        notice::{Alert, Notice, NoticeEvent, Severity},
        restore::Restore,
        time::Moment,
    },
    error::Result,
    services::{Ctx, copies},
};

/// Sees to what follows from the end of a job. May be called twice for one job.
pub(in crate::services) async fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job) -> Result<()> {
    if job.status == JobStatus::Cancelled {
        // Somebody asked for it and knows.
        return Ok(());
    }
    match job.kind {
        JobKind::Backup => backup(ctx, organization, job).await,
        JobKind::Restore => restore(ctx, organization, job).await,
        JobKind::Verify => verify(ctx, organization, job).await,
        JobKind::Retention | JobKind::Copy | JobKind::Maintenance => upkeep(ctx, organization, job).await,
        // Whoever compares looks at it.
        JobKind::Diff => Ok(()),
    }
}

async fn backup(ctx: &Ctx, organization: OrganizationId, job: &Job) -> Result<()> {
    let Some(id) = job.backup_id else { return Ok(()) };
    let Some(backup) = found(db::backups::get(&ctx.db, organization, id).await)? else { return Ok(()) };
    match (job.status, backup.status) {
        (JobStatus::Completed, BackupStatus::Completed) => succeeded(ctx, organization, job, &backup).await,
        (JobStatus::Completed, _) => Ok(()),
        _ => failed(ctx, organization, job, &backup).await,
    }
}

async fn failed(ctx: &Ctx, organization: OrganizationId, job: &Job, backup: &Backup) -> Result<()> {
    let name = &backup.database_name;
    let mut notice = words::notice(ctx, NoticeEvent::BackupFailed, Severity::Error, name, format!("Backup of {name} failed"));
    let error = backup.error.as_deref().or(job.error.as_deref()).unwrap_or("it ended without telling why");
    let (cause, step) = cause_and_step(error);
    notice.what = cause;
    let again = "Then run the backup again; the job's log has every line of the tool.";
    notice.next_step = step.map_or_else(|| format!("Look into the job's log for the cause. {again}"), |step| format!("{step} {again}"));
    notice.link = words::link(ctx, &format!("/jobs/{}", job.id));
    notice.database_id = backup.database_id;
    notice.at = end_of(ctx, job);
    notice.group = group_of(backup);
    notice.facts.push(("Attempts".into(), format!("{} of {}", job.attempt, job.max_attempts)));
    if let Some(database) = backup.database_id {
        fact_last_good(ctx, organization, database, &mut notice).await?;
    }
    failures(alerts::failed(ctx, organization, notice.clone()).await?, &mut notice);
    raise(ctx, organization, notice, &key("backup", job)).await.map(drop)
}

async fn succeeded(ctx: &Ctx, organization: OrganizationId, job: &Job, backup: &Backup) -> Result<()> {
    let name = &backup.database_name;
    let describe = |notice: &mut Notice| {
        notice.link = words::link(ctx, &format!("/backups/{}", backup.id));
        notice.database_id = backup.database_id;
        notice.facts.push(("Size".into(), amount::size(backup.stored_size())));
        notice.facts.push(("Rows".into(), amount::count(backup.rows())));
        if let Some(duration) = backup.duration_ms() {
            notice.facts.push(("Duration".into(), words::span(duration)));
        }
    };
    if !backup.partial {
        unusual::look(ctx, organization, backup).await?;
        // A good backup ends the failures of its own schedule and those of backups by hand.
        let mut keys = vec![group_of(backup)];
        keys.extend(backup.database_id.map(|id| group(id, None)).filter(|by_hand| *by_hand != keys[0]));
        for key in keys {
            let end = |alert: &Alert| {
                let title = format!("Backup of {name} works again");
                let mut notice = words::notice(ctx, NoticeEvent::BackupRecovered, Severity::Info, name, title);
                let failures = if alert.times == 1 { "1 failure".to_owned() } else { format!("{} failures", alert.times) };
                notice.what = format!("After {failures} there is a good backup again. The last failure was: {}", alert.notice.what);
                describe(&mut notice);
                notice
            };
            alerts::right(ctx, organization, &key, end).await?;
        }
    }
    let mut notice = words::notice(ctx, NoticeEvent::BackupSucceeded, Severity::Info, name, format!("Backup of {name} succeeded"));
    notice.what = match backup.warnings.as_slice() {
        [] => "It is complete and its size, counts and checksums are recorded.".to_owned(),
        warnings => format!("It is complete, with warnings:\n{}", warnings.join("\n")),
    };
    notice.group = group_of(backup);
    describe(&mut notice);
    raise(ctx, organization, notice, &key("backup", job)).await.map(drop)
}

async fn restore(ctx: &Ctx, organization: OrganizationId, job: &Job) -> Result<()> {
    let Some(id) = job.restore_id else { return Ok(()) };
    let Some(restore) = found(db::restores::get(&ctx.db, organization, id).await)? else { return Ok(()) };
    let dry = if restore.is_dry_run() { "Trial restore" } else { "Restore" };
    let (event, severity, ended) = match job.status {
        JobStatus::Completed => (NoticeEvent::RestoreFinished, Severity::Info, "finished"),
        _ => (NoticeEvent::RestoreFailed, Severity::Error, "failed"),
    };
    let target = &restore.target_label;
    let mut notice = words::notice(ctx, event, severity, target, format!("{dry} into {target} {ended}"));
    (notice.what, notice.next_step) = restore_words(job, &restore);
    notice.link = words::link(ctx, &format!("/restores/{}", restore.id));
    notice.database_id = restore.database_id;
    notice.at = end_of(ctx, job);
    // A restore is not repeated by itself: the next one into the same place shows that the trouble is over.
    notice.group = format!("restore:{}:{target}", if restore.is_dry_run() { "trial" } else { "real" });
    notice.facts.push(("From".into(), restore.source_label.clone()));
    if job.status == JobStatus::Completed {
        let end = |alert: &Alert| alerts::resolved(ctx, alert, format!("{dry} into {target} works again"), after_failures(alert));
        alerts::right(ctx, organization, &notice.group, end).await?;
    } else {
        failures(alerts::failed(ctx, organization, notice.clone()).await?, &mut notice);
    }
    raise(ctx, organization, notice, &key("restore", job)).await.map(drop)
}

fn restore_words(job: &Job, restore: &Restore) -> (String, String) {
    if job.status == JobStatus::Completed {
        let mut what = restored(restore);
        if !restore.warnings.is_empty() {
            what = format!("{what} There were warnings:\n{}", restore.warnings.join("\n"));
        }
        return (what, String::new());
    }
    let (cause, step) = cause_and_step(restore.error.as_deref().or(job.error.as_deref()).unwrap_or("it ended without telling why"));
    let back = match restore.safety_backup_id {
        _ if restore.is_dry_run() || restore.started_at.is_none() => "Nothing was written. Start it again when the cause is mended.",
        Some(_) => "The target may be half restored: the backup that was taken just before brings back how it was.",
        None => "The target may be half restored: look at it before anything uses it, then start a new restore.",
    };
    (cause, format!("{} {back}", step.unwrap_or_default()).trim().to_owned())
}

/// What a restore that ended well has done.
fn restored(restore: &Restore) -> String {
    let dry = restore.is_dry_run();
    if let Some(applied) = &restore.applied {
        let [inserted, updated, deleted, skipped] =
            [applied.inserted, applied.updated, applied.deleted, applied.skipped].map(amount::count);
        let would = if dry { "would be" } else { "were" };
        return format!("{inserted} rows {would} inserted, {updated} changed, {deleted} deleted and {skipped} left as they are.");
    }
    let (tables, rows) = (restore.tables.len(), amount::count(restore.tables.iter().map(|table| table.rows).sum()));
    match dry {
        true => format!("It would go through, with {rows} rows in {tables} tables. Nothing was written."),
        false => format!("{rows} rows in {tables} tables are in the target."),
    }
}

async fn verify(ctx: &Ctx, organization: OrganizationId, job: &Job) -> Result<()> {
    let Some(id) = job.backup_id else { return Ok(()) };
    let Some(backup) = found(db::backups::get(&ctx.db, organization, id).await)? else { return Ok(()) };
    let corrupt = backup.verify_state == VerifyState::Corrupt;
    let name = &backup.database_name;
    let of = words::time(ctx, backup.created_at);
    let group = verify_key(id);
    if job.status == JobStatus::Completed && !corrupt {
        let end = |alert: &Alert| {
            let what = format!("The backup of {of} was read whole, and is what was written. {}", after_failures(alert));
            alerts::resolved(ctx, alert, format!("A backup of {name} is intact"), what)
        };
        return alerts::right(ctx, organization, &group, end).await;
    }
    let (cause, step) = cause_and_step(job.error.as_deref().unwrap_or("the stored files are not what the manifest promises"));
    // Where it is whole, when it was found damaged in one store and not in another.
    let whole_in = job.report.as_ref().and_then(|report| report["wholeIn"].as_str());
    let (severity, title, what) = match (corrupt, whole_in) {
        (true, _) => (
            Severity::Critical,
            format!("A backup of {name} is damaged"),
            format!("The backup of {of} cannot be trusted any more. {cause}"),
        ),
        (false, Some(store)) => (
            Severity::Error,
            format!("A backup of {name} is damaged in one store"),
            format!("The backup of {of} is whole in '{store}'. {cause}"),
        ),
        (false, None) => (
            Severity::Warning,
            format!("A backup of {name} could not be verified"),
            format!("The backup of {of} was not found damaged, but it could not be checked. {cause}"),
        ),
    };
    let mut notice = words::notice(ctx, NoticeEvent::VerifyFailed, severity, name, title);
    notice.what = what;
    notice.next_step = match corrupt {
        true => "Run a new backup now, then check the disk or the bucket that held this one: what damaged it may damage others.".into(),
        false => step.unwrap_or_else(|| "See to what kept it from being read, then verify it again.".into()),
    };
    notice.link = words::link(ctx, &format!("/backups/{}", backup.id));
    notice.database_id = backup.database_id;
    notice.at = end_of(ctx, job);
    notice.group = group;
    if let Some(database) = backup.database_id {
        fact_last_good(ctx, organization, database, &mut notice).await?;
    }
    failures(alerts::failed(ctx, organization, notice.clone()).await?, &mut notice);
    raise(ctx, organization, notice, &key("verify", job)).await.map(drop)
}

/// Copies, deletions and maintenance: their failures, and the first success after them.
async fn upkeep(ctx: &Ctx, organization: OrganizationId, job: &Job) -> Result<()> {
    let name = match job.database_id {
        Some(id) => found(db::databases::get(&ctx.db, organization, id).await)?.map(|database| database.name),
        None => None,
    };
    let of = name.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let (thing, means) = match job.kind {
        JobKind::Copy => {
            let store = match copies::store_of(job) {
                Some(id) => found(db::stores::get(&ctx.db, organization, id).await)?.map(|store| store.name),
                None => None,
            };
            let to = store.map(|store| format!(" to {store}")).unwrap_or_default();
            (format!("Copying backups{to}"), "The backups themselves are good, but they are in fewer places than they should be.")
        }
        JobKind::Retention => (format!("Deleting old backups{of}"), "Nothing is lost; old backups take up space until it works."),
        _ => ("Maintenance".to_owned(), "Backups go on."),
    };
    let about = job.database_id.map(|id| id.to_string()).or_else(|| copies::store_of(job).map(|id| id.to_string()));
    let group = format!("job:{}:{}", job.kind, about.unwrap_or_else(|| "all".into()));
    if job.status == JobStatus::Completed {
        let end = |alert: &Alert| alerts::resolved(ctx, alert, format!("{thing} works again"), after_failures(alert));
        return alerts::right(ctx, organization, &group, end).await;
    }
    let subject = name.unwrap_or_else(|| "DBSnap".into());
    let mut notice = words::notice(ctx, NoticeEvent::JobFailed, Severity::Warning, &subject, format!("{thing} failed"));
    let (cause, step) = cause_and_step(job.error.as_deref().unwrap_or("it ended without telling why"));
    notice.what = format!("{cause} {means}");
    notice.next_step = step.unwrap_or_else(|| "Look into the job's log for the cause, then retry the job.".into());
    notice.link = words::link(ctx, &format!("/jobs/{}", job.id));
    notice.database_id = job.database_id;
    notice.at = end_of(ctx, job);
    notice.group = group;
    notice.facts.push(("Attempts".into(), format!("{} of {}", job.attempt, job.max_attempts)));
    failures(alerts::failed(ctx, organization, notice.clone()).await?, &mut notice);
    raise(ctx, organization, notice, &key("job", job)).await.map(drop)
}

/// The key of what is wrong with a backup that a verification found damaged, or could not read.
pub(super) fn verify_key(id: BackupId) -> String {
    format!("verify:{id}")
}

/// How many failures there were before the end of a trouble, and the last of them.
fn after_failures(alert: &Alert) -> String {
    let failures = if alert.times == 1 { "1 failure".to_owned() } else { format!("{} failures", alert.times) };
    format!("Before that there had been {failures}. The last was: {}", alert.notice.what)
}

/// Tells how many failures in a row there were, when this is not the first.
fn failures(times: u64, notice: &mut Notice) {
    if times > 1 {
        notice.facts.push(("Failures in a row".into(), times.to_string()));
    }
}

fn group_of(backup: &Backup) -> String {
    match backup.database_id {
        Some(database) => group(database, backup.schedule_id.map(|id| id.to_string())),
        None => format!("backup:{}", backup.database_name),
    }
}

/// When the job ended: the same however often this is asked.
fn end_of(ctx: &Ctx, job: &Job) -> Moment {
    job.finished_at.unwrap_or_else(|| ctx.now())
}

/// One end of a job: a job that is retried ends again.
fn key(kind: &str, job: &Job) -> String {
    format!("{kind}:{}:{}", job.id, job.finished_at.map_or(0, |at| at.0))
}
