//! The queue. A worker holds a job by a lease: every write it makes names its token, and a worker whose lease was taken
//! over writes nothing more (fencing). Each step is one atomic statement.

use deadpool_sqlite::rusqlite::{Row, Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, Conditions, text},
    row,
};
use crate::{
    domain::{
        events::Progress,
        filter::JobFilter,
        ids::{BackupId, JobId, OrganizationId},
        job::{Job, JobKind, JobStatus},
        page::{Page, PageRequest},
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str =
    "id, organization_id, kind, status, database_id, backup_id, restore_id, diff_id, exclusive_key, payload, attempt, max_attempts,
     run_after, cancel_requested, progress, error, created_at, started_at, finished_at, schedule_id, priority, limits, dead, report";

/// What lets a queued job (`due`) start: its time has come, no running job has its exclusive key, and when it is a backup
/// fewer than ?2 run. ?1 is now.
const MAY_START: &str = "due.status = 'queued' AND due.run_after <= ?1
    AND (due.exclusive_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM jobs AS other WHERE other.status = 'running' AND other.exclusive_key = due.exclusive_key))
    AND (due.kind <> 'backup' OR ?2 > (SELECT COUNT(*) FROM jobs AS other WHERE other.status = 'running' AND other.kind = 'backup'))";

/// A worker's claim on running jobs.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Unlike every other worker's, of this process and of others.
    pub token: String,
    pub until: Moment,
}

/// What a heartbeat answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// False when another worker has taken the job over, or it has ended.
    pub held: bool,
    pub cancel_requested: bool,
}

pub async fn enqueue(db: &Db, organization: OrganizationId, job: &Job) -> Result<()> {
    let job = job.clone();
    db.write("queueing the job", move |db| insert_row(db, organization, &job)).await
}

/// [`enqueue`] as part of a larger change.
pub(super) fn insert_row(db: &Transaction<'_>, organization: OrganizationId, job: &Job) -> Outcome<()> {
    db.execute(
        "INSERT INTO jobs (id, organization_id, kind, status, database_id, backup_id, restore_id, exclusive_key, payload, attempt,
                 max_attempts, run_after, cancel_requested, created_at, diff_id, schedule_id, priority, limits)
             VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, FALSE, ?12, ?13, ?14, ?15, ?16)",
        params![
            job.id.to_string(),
            organization.to_string(),
            job.kind.as_str(),
            job.database_id.map(|id| id.to_string()),
            job.backup_id.map(|id| id.to_string()),
            job.restore_id.map(|id| id.to_string()),
            job.exclusive_key,
            row::to_json(&job.payload)?,
            job.attempt,
            job.max_attempts,
            job.run_after.0,
            job.created_at.0,
            job.diff_id.map(|id| id.to_string()),
            job.schedule_id.map(|id| id.to_string()),
            job.priority,
            row::to_json(&job.limits)?,
        ],
    )?;
    Ok(())
}

pub async fn get(db: &Db, organization: OrganizationId, id: JobId) -> Result<Job> {
    db.read("reading the job", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// Newest first.
pub async fn list(db: &Db, organization: OrganizationId, filter: &JobFilter, page: PageRequest) -> Result<Page<Job>> {
    let conditions = Conditions::new("organization_id = ?", text(organization))
        .and("status = ?", filter.status.map(text))
        .and("kind = ?", filter.kind.map(text))
        .and("database_id = ?", filter.database_id.map(text))
        .and("dead = ?", filter.dead);
    db.read("listing the jobs", move |db| conditions.page(db, COLUMNS, "jobs", "created_at DESC, id DESC", page, read)).await
}

/// Takes the job of the highest priority, and of these the one that has been due the longest, if one may start: no running job has its exclusive key, and when it is
/// a backup fewer than `max_backups` run.
pub async fn claim(db: &Db, lease: &Lease, now: Moment, max_backups: usize) -> Result<Option<(OrganizationId, Job)>> {
    let lease = lease.clone();
    db.write("claiming a job", move |db| {
        let sql = format!(
            "UPDATE jobs SET status = 'running', attempt = attempt + 1, lease_token = ?3, lease_until = ?4, started_at = ?1,
                 finished_at = NULL, progress = NULL, error = NULL
             WHERE id = (
                 SELECT due.id FROM jobs AS due WHERE {MAY_START}
                 ORDER BY due.priority DESC, due.run_after, due.created_at, due.id LIMIT 1)
             RETURNING {COLUMNS}"
        );
        let max_backups = i64::try_from(max_backups).unwrap_or(i64::MAX);
        let values = [now.0.into(), max_backups.into(), lease.token.into(), lease.until.0.into()];
        query::first(db, &sql, &values, read_with_organization)
    })
    .await
}

/// True when [`claim`] would find a job.
pub async fn any_may_start(db: &Db, now: Moment, max_backups: usize) -> Result<bool> {
    let max_backups = i64::try_from(max_backups).unwrap_or(i64::MAX);
    db.read("looking for a job that may start", move |db| {
        let sql = format!("SELECT 1 FROM jobs AS due WHERE {MAY_START} LIMIT 1");
        Ok(query::first(db, &sql, &[now.0.into(), max_backups.into()], |_| Ok(()))?.is_some())
    })
    .await
}

/// Extends the lease and stores the progress, where there is some.
pub async fn heartbeat(db: &Db, id: JobId, lease: &Lease, progress: Option<&Progress>) -> Result<Heartbeat> {
    let lease = lease.clone();
    let progress = progress.map(row::to_json).transpose()?;
    db.write("extending the job's lease", move |db| {
        let sql = "UPDATE jobs SET lease_until = ?3, progress = COALESCE(?4, progress)
                   WHERE id = ?1 AND lease_token = ?2 AND status = 'running' RETURNING cancel_requested";
        let values = [text(id), lease.token.into(), lease.until.0.into(), progress.into()];
        let cancel_requested = query::first(db, sql, &values, |row| row::plain(row, "cancel_requested"))?;
        Ok(Heartbeat { held: cancel_requested.is_some(), cancel_requested: cancel_requested.unwrap_or(false) })
    })
    .await
}

/// Ends a held job. `None` when the lease was lost: nothing is changed then.
pub async fn finish(db: &Db, id: JobId, token: &str, status: JobStatus, error: Option<&str>, at: Moment) -> Result<Option<Job>> {
    let values = [text(id), text(token), text(status), error.map(str::to_owned).into(), at.0.into()];
    db.write("ending the job", move |db| {
        let sql = format!(
            "UPDATE jobs SET status = ?3, error = ?4, finished_at = ?5, lease_token = NULL, lease_until = NULL, followed_up = FALSE,
                 dead = (?3 IN ('failed', 'interrupted'))
             WHERE id = ?1 AND lease_token = ?2 AND status = 'running' RETURNING {COLUMNS}"
        );
        query::first(db, &sql, &values, read)
    })
    .await
}

/// Puts a held job back into the queue, to start at `run_after` or later; its attempt `counts`, or is taken back. `None`
/// when the lease was lost.
pub async fn requeue(db: &Db, id: JobId, token: &str, run_after: Moment, error: Option<&str>, counts: bool) -> Result<Option<Job>> {
    let values = [text(id), text(token), run_after.0.into(), error.map(str::to_owned).into(), i64::from(!counts).into()];
    db.write("queueing the job again", move |db| {
        let sql = format!(
            "UPDATE jobs SET status = 'queued', run_after = ?3, error = ?4, attempt = attempt - ?5, progress = NULL, lease_token = NULL,
                 lease_until = NULL
             WHERE id = ?1 AND lease_token = ?2 AND status = 'running' RETURNING {COLUMNS}"
        );
        query::first(db, &sql, &values, read)
    })
    .await
}

/// Cancels a queued job at once; asks the worker of a running one to stop. Errors with `Conflict` when it is over.
pub async fn request_cancel(db: &Db, organization: OrganizationId, id: JobId) -> Result<Job> {
    db.write("cancelling the job", move |db| {
        let cancel = format!(
            "UPDATE jobs SET cancel_requested = TRUE,
                 finished_at = CASE WHEN status = 'queued' THEN ?3 ELSE finished_at END,
                 followed_up = CASE WHEN status = 'queued' THEN FALSE ELSE followed_up END,
                 status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE status END
             WHERE organization_id = ?1 AND id = ?2 AND status IN ('queued', 'running') RETURNING {COLUMNS}"
        );
        let values = [text(organization), text(id), Moment::now().0.into()];
        if let Some(job) = query::first(db, &cancel, &values, read)? {
            return Ok(job);
        }
        Err(refusal(db, organization, id, "cannot be cancelled: it is already")?.into())
    })
    .await
}

/// Queues a job that did not end well once more, with all its attempts. Errors with `Conflict` otherwise.
pub async fn retry(db: &Db, organization: OrganizationId, id: JobId, run_after: Moment) -> Result<Job> {
    db.write("retrying the job", move |db| {
        let again = format!(
            "UPDATE jobs SET status = 'queued', attempt = 0, run_after = ?3, cancel_requested = FALSE, finished_at = NULL, progress = NULL,
                 dead = FALSE
             WHERE organization_id = ?1 AND id = ?2 AND status IN ('failed', 'cancelled', 'interrupted') RETURNING {COLUMNS}"
        );
        if let Some(job) = query::first(db, &again, &[text(organization), text(id), run_after.0.into()], read)? {
            return Ok(job);
        }
        Err(refusal(db, organization, id, "cannot be retried: it is")?.into())
    })
    .await
}

/// Changes the priority of a job that waits. Errors with `Conflict` when it has started or is over.
pub async fn set_priority(db: &Db, organization: OrganizationId, id: JobId, priority: i32) -> Result<Job> {
    db.write("changing the job's priority", move |db| {
        let change =
            format!("UPDATE jobs SET priority = ?3 WHERE organization_id = ?1 AND id = ?2 AND status = 'queued' RETURNING {COLUMNS}");
        if let Some(job) = query::first(db, &change, &[text(organization), text(id), i64::from(priority).into()], read)? {
            return Ok(job);
        }
        Err(refusal(db, organization, id, "does not wait any more: it is")?.into())
    })
    .await
}

/// Takes a job off the list of dead letters; its row and its log stay. False when it was not on the list.
pub async fn leave_dead_letters(db: &Db, organization: OrganizationId, id: JobId) -> Result<bool> {
    db.write("dropping a dead letter", move |db| {
        let sql = "UPDATE jobs SET dead = FALSE WHERE organization_id = ?1 AND id = ?2 AND dead";
        Ok(db.execute(sql, params![organization.to_string(), id.to_string()])? > 0)
    })
    .await
}

/// The dead letters, of one kind or of all, the one that ended first at the beginning, at most `limit`.
pub async fn dead_letters(db: &Db, organization: OrganizationId, kind: Option<JobKind>, limit: u32) -> Result<Vec<JobId>> {
    db.read("listing dead letters", move |db| {
        let sql = "SELECT id FROM jobs WHERE dead AND organization_id = ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY finished_at, id LIMIT ?3";
        let values = [text(organization), kind.map(|kind| kind.to_string()).into(), i64::from(limit).into()];
        query::all(db, sql, &values, |row| row::parsed(row, "id"))
    })
    .await
}

/// How many jobs of a kind there are, and of which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    pub kind: JobKind,
    /// Queued, and their time has come.
    pub due: u64,
    /// Queued for later.
    pub later: u64,
    pub running: u64,
}

/// The open jobs by kind; a kind without any is left out.
pub async fn depth(db: &Db, organization: OrganizationId, now: Moment) -> Result<Vec<Depth>> {
    db.read("counting the queue", move |db| {
        let sql = "SELECT kind, SUM(CASE WHEN status = 'queued' AND run_after <= ?2 THEN 1 ELSE 0 END) AS due,
                       SUM(CASE WHEN status = 'queued' AND run_after > ?2 THEN 1 ELSE 0 END) AS later,
                       SUM(CASE WHEN status = 'running' THEN 1 ELSE 0 END) AS running
                   FROM jobs WHERE organization_id = ?1 AND status IN ('queued', 'running') GROUP BY kind ORDER BY kind";
        query::all(db, sql, &[text(organization), now.0.into()], |row| {
            Ok(Depth {
                kind: row::parsed(row, "kind")?,
                due: row::count(row, "due")?,
                later: row::count(row, "later")?,
                running: row::count(row, "running")?,
            })
        })
    })
    .await
}

/// Lets queued jobs start that were made later than `now`: the clock was set back since.
pub async fn start_those_made_later(db: &Db, now: Moment) -> Result<()> {
    db.write("bringing queued jobs forward", move |db| {
        db.execute("UPDATE jobs SET run_after = ?1 WHERE status = 'queued' AND created_at > ?1", params![now.0])?;
        Ok(())
    })
    .await
}

/// Jobs that are over and whose consequences nobody has seen to yet, the oldest first, at most `limit`.
pub async fn to_follow_up(db: &Db, limit: u32) -> Result<Vec<(OrganizationId, Job)>> {
    db.read("listing ended jobs", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE followed_up = FALSE ORDER BY finished_at, id LIMIT ?1");
        query::all(db, &sql, &[i64::from(limit).into()], read_with_organization)
    })
    .await
}

/// Records that everything that follows from the job's end was seen to.
pub async fn mark_followed_up(db: &Db, id: JobId) -> Result<()> {
    db.write("recording what followed the job", move |db| {
        db.execute("UPDATE jobs SET followed_up = TRUE WHERE id = ?1", params![id.to_string()])?;
        Ok(())
    })
    .await
}

/// Keeps what the job did or found.
pub async fn set_report(db: &Db, id: JobId, report: &serde_json::Value) -> Result<()> {
    let report = row::to_json(report)?;
    db.write("saving the job's report", move |db| {
        db.execute("UPDATE jobs SET report = ?2 WHERE id = ?1", params![id.to_string(), report])?;
        Ok(())
    })
    .await
}

pub async fn set_backup(db: &Db, id: JobId, backup: BackupId) -> Result<()> {
    db.write("recording the job's backup", move |db| {
        db.execute("UPDATE jobs SET backup_id = ?2 WHERE id = ?1", params![id.to_string(), backup.to_string()])?;
        Ok(())
    })
    .await
}

/// Takes over running jobs whose lease ended before `expired_before`, or all of them (`None`: at start, when the data
/// directory's lock says that no other worker exists).
pub async fn take_over(db: &Db, lease: &Lease, expired_before: Option<Moment>) -> Result<Vec<(OrganizationId, Job)>> {
    let before = expired_before.map_or(i64::MAX, |moment| moment.0);
    let values = [lease.token.clone().into(), lease.until.0.into(), before.into()];
    db.write("taking over abandoned jobs", move |db| {
        let sql = format!(
            "UPDATE jobs SET lease_token = ?1, lease_until = ?2 WHERE status = 'running' AND (lease_until IS NULL OR lease_until < ?3)
             RETURNING {COLUMNS}"
        );
        query::all(db, &sql, &values, read_with_organization)
    })
    .await
}

fn refusal(db: &deadpool_sqlite::rusqlite::Connection, organization: OrganizationId, id: JobId, why: &str) -> Outcome<Error> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE organization_id = ?1 AND id = ?2");
    Ok(match query::first(db, &sql, &[text(organization), text(id)], read)? {
        Some(job) => Error::conflict(format!("job {id} {why} {}", job.status)),
        None => missing(id),
    })
}

fn missing(id: JobId) -> Error {
    Error::not_found(format_args!("job {id}"))
}

fn read_with_organization(row: &Row<'_>) -> Outcome<(OrganizationId, Job)> {
    Ok((row::parsed(row, "organization_id")?, read(row)?))
}

fn read(row: &Row<'_>) -> Outcome<Job> {
    Ok(Job {
        id: row::parsed(row, "id")?,
        kind: row::parsed(row, "kind")?,
        status: row::parsed(row, "status")?,
        database_id: row::parsed_if_set(row, "database_id")?,
        backup_id: row::parsed_if_set(row, "backup_id")?,
        restore_id: row::parsed_if_set(row, "restore_id")?,
        diff_id: row::parsed_if_set(row, "diff_id")?,
        schedule_id: row::parsed_if_set(row, "schedule_id")?,
        priority: row::plain(row, "priority")?,
        limits: row::json(row, "limits")?,
        dead: row::plain(row, "dead")?,
        report: row::json_if_set(row, "report")?,
        exclusive_key: row::plain(row, "exclusive_key")?,
        payload: row::json(row, "payload")?,
        attempt: row::count(row, "attempt")?,
        max_attempts: row::count(row, "max_attempts")?,
        run_after: row::moment(row, "run_after")?,
        cancel_requested: row::plain(row, "cancel_requested")?,
        progress: row::json_if_set(row, "progress")?,
        error: row::plain(row, "error")?,
        created_at: row::moment(row, "created_at")?,
        started_at: row::moment_if_set(row, "started_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
    })
}
