//! The queue. A worker holds a job by a lease: every write it makes names its token, and a worker whose lease was taken
//! over writes nothing more (fencing). Each step is one atomic statement.

use std::time::Instant;

use deadpool_sqlite::rusqlite::{Row, Transaction, params, types::Value};

use super::{
    Db, diffs,
    fault::Outcome,
    query::{self, Conditions, text},
    row,
};
use crate::{
    domain::{
        events::Progress,
        filter::JobFilter,
        ids::{BackupId, DatabaseId, JobId, OrganizationId},
        job::{Job, JobKind, JobStatus},
        page::{Page, PageRequest},
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str =
    "id, organization_id, kind, status, database_id, backup_id, restore_id, diff_id, exclusive_key, payload, attempt, max_attempts,
     run_after, cancel_requested, progress, error, created_at, started_at, finished_at, schedule_id, priority, limits, dead, report";

/// What lets a queued job (`due`) start: its time has come, no running job has its exclusive key, and there is [`Room`] for its
/// kind: ?2 for backups, ?3 for upkeep. ?1 is now. The `+` keeps SQLite from sorting all that are due: it walks the index that has
/// them in their order, and stops at the first.
const MAY_START: &str = "due.status = 'queued' AND +due.run_after <= ?1
    AND (due.exclusive_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM jobs AS other WHERE other.status = 'running' AND other.exclusive_key = due.exclusive_key))
    AND (due.kind <> 'backup' OR ?2 > (SELECT COUNT(*) FROM jobs AS other WHERE other.status = 'running' AND other.kind = 'backup'))
    AND (due.kind NOT IN ('verify', 'retention', 'copy', 'maintenance') OR ?3 > (
        SELECT COUNT(*) FROM jobs AS other WHERE other.status = 'running' AND other.kind IN ('verify', 'retention', 'copy', 'maintenance')))";

/// How many jobs may run at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub backups: usize,
    /// Verifications, deletions, copies and maintenance together: what nobody waits for must not hold up what somebody does.
    pub upkeep: usize,
}

impl Room {
    /// As ?2 and ?3 of [`MAY_START`].
    fn values(self) -> [Value; 2] {
        [self.backups, self.upkeep].map(|most| i64::try_from(most).unwrap_or(i64::MAX).into())
    }
}

/// A worker's claim on running jobs.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Unlike every other worker's, of this process and of others.
    pub token: String,
    pub until: Moment,
}

impl Lease {
    /// When it ends if it is written now but was asked for at `asked`: the wait for the writing connection is not taken off it.
    fn end(&self, asked: Instant) -> Moment {
        self.until.plus(i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
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

/// Takes the job of the highest priority, and of these the one that has been due the longest, if one may start: no running job
/// has its exclusive key, and there is room for its kind.
pub async fn claim(db: &Db, lease: &Lease, now: Moment, room: Room) -> Result<Option<(OrganizationId, Job)>> {
    let (lease, asked) = (lease.clone(), Instant::now());
    db.write("claiming a job", move |db| {
        let sql = format!(
            "UPDATE jobs SET status = 'running', attempt = attempt + 1, lease_token = ?4, lease_until = ?5, started_at = ?1,
                 finished_at = NULL, progress = NULL, error = NULL
             WHERE id = (
                 SELECT due.id FROM jobs AS due WHERE {MAY_START}
                 ORDER BY due.priority DESC, due.run_after, due.created_at, due.id LIMIT 1)
             RETURNING {COLUMNS}"
        );
        let until = lease.end(asked).0;
        let [backups, upkeep] = room.values();
        query::first(db, &sql, &[now.0.into(), backups, upkeep, lease.token.into(), until.into()], read_with_organization)
    })
    .await
}

/// True when [`claim`] would find a job.
pub async fn any_may_start(db: &Db, now: Moment, room: Room) -> Result<bool> {
    db.read("looking for a job that may start", move |db| {
        let sql = format!("SELECT 1 FROM jobs AS due WHERE {MAY_START} LIMIT 1");
        let [backups, upkeep] = room.values();
        Ok(query::first(db, &sql, &[now.0.into(), backups, upkeep], |_| Ok(()))?.is_some())
    })
    .await
}

/// Extends the lease and stores the progress, where there is some.
pub async fn heartbeat(db: &Db, id: JobId, lease: &Lease, progress: Option<&Progress>) -> Result<Heartbeat> {
    let (lease, asked) = (lease.clone(), Instant::now());
    let progress = progress.map(row::to_json).transpose()?;
    db.write("extending the job's lease", move |db| {
        let sql = "UPDATE jobs SET lease_until = ?3, progress = COALESCE(?4, progress)
                   WHERE id = ?1 AND lease_token = ?2 AND status = 'running' RETURNING cancel_requested";
        let until = lease.end(asked).0;
        let values = [text(id), lease.token.into(), until.into(), progress.into()];
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

/// Puts a held job back into the queue, to start at `run_after` or later; its attempt `counts`, or is taken back. When somebody
/// has asked for its cancel meanwhile it is cancelled at `now` instead. `None` when the lease was lost.
pub async fn requeue(
    db: &Db,
    id: JobId,
    token: &str,
    run_after: Moment,
    error: Option<&str>,
    counts: bool,
    now: Moment,
) -> Result<Option<Job>> {
    let values = [text(id), text(token), run_after.0.into(), error.map(str::to_owned).into(), i64::from(!counts).into(), now.0.into()];
    db.write("queueing the job again", move |db| {
        let sql = format!(
            "UPDATE jobs SET status = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END, run_after = ?3, error = ?4,
                 attempt = attempt - ?5, progress = NULL, lease_token = NULL, lease_until = NULL,
                 finished_at = CASE WHEN cancel_requested THEN ?6 ELSE finished_at END,
                 followed_up = CASE WHEN cancel_requested THEN FALSE ELSE followed_up END
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

/// Queues `again`, which does once more what a job that did not end well was for, and takes that one off the list of dead
/// letters: both or neither. Errors with `Conflict` when it ended well, is not over, or its retry before this one is not over;
/// when the work is queued again already; and with `letter` when it is no dead letter any more.
pub async fn retry(db: &Db, organization: OrganizationId, id: JobId, again: &Job, letter: bool) -> Result<()> {
    let again = again.clone();
    db.write("retrying the job", move |db| {
        let (only, refused) = match letter {
            true => (" AND dead = TRUE", "is no dead letter any more, somebody has retried or dropped it: it is"),
            false => ("", "is not retried: its retry before this one is not over, or it is"),
        };
        let sql = format!(
            "UPDATE jobs SET dead = FALSE, retried_as = ?3
             WHERE organization_id = ?1 AND id = ?2 AND status IN ('failed', 'cancelled', 'interrupted'){only}
                 AND NOT EXISTS (SELECT 1 FROM jobs AS open WHERE open.id = jobs.retried_as AND open.status IN ('queued', 'running'))"
        );
        if db.execute(&sql, params![organization.to_string(), id.to_string(), again.id.to_string()])? == 0 {
            return Err(refusal(db, organization, id, refused)?.into());
        }
        let sql = "SELECT id FROM jobs WHERE backup_id = ?1 AND kind = ?2 AND status = 'queued' LIMIT 1";
        let values = [again.backup_id.map(text).into(), text(again.kind)];
        if let Some(other) = query::first(db, sql, &values, |row| row::parsed::<JobId>(row, "id"))? {
            return Err(Error::conflict(format!("it is queued again already, as job {other}")).hint("wait for that job").into());
        }
        if let Some(diff) = again.diff_id {
            diffs::queue_row(db, diff, again.id)?;
        }
        insert_row(db, organization, &again)
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

/// The dead letters, of one kind and one database or of all, the one that ended first at the beginning, at most `limit`.
pub async fn dead_letters(
    db: &Db,
    organization: OrganizationId,
    kind: Option<JobKind>,
    database: Option<DatabaseId>,
    limit: u32,
) -> Result<Vec<JobId>> {
    db.read("listing dead letters", move |db| {
        let sql = "SELECT id FROM jobs WHERE dead = TRUE AND organization_id = ?1 AND (?2 IS NULL OR kind = ?2)
                       AND (?3 IS NULL OR database_id = ?3)
                   ORDER BY finished_at, id LIMIT ?4";
        let values = [
            text(organization),
            kind.map(|kind| kind.to_string()).into(),
            database.map(|id| id.to_string()).into(),
            i64::from(limit).into(),
        ];
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
                   FROM (SELECT kind, status, run_after FROM jobs WHERE organization_id = ?1 AND status = 'queued'
                         UNION ALL SELECT kind, status, run_after FROM jobs WHERE organization_id = ?1 AND status = 'running') AS open
                   GROUP BY kind ORDER BY kind";
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
/// directory's lock says that no other worker exists). Not those with a lease of `spared`.
pub async fn take_over(db: &Db, lease: &Lease, expired_before: Option<Moment>, spared: Vec<String>) -> Result<Vec<(OrganizationId, Job)>> {
    let before = expired_before.map_or(i64::MAX, |moment| moment.0);
    let (lease, asked) = (lease.clone(), Instant::now());
    db.write("taking over abandoned jobs", move |db| {
        let until = lease.end(asked).0;
        let mut values: Vec<Value> = vec![lease.token.into(), until.into(), before.into()];
        values.extend(spared.into_iter().map(Value::from));
        let spare: String = (4..=values.len()).map(|number| format!(" AND COALESCE(lease_token, '') <> ?{number}")).collect();
        let sql = format!(
            "UPDATE jobs SET lease_token = ?1, lease_until = ?2
             WHERE status = 'running' AND (lease_until IS NULL OR lease_until < ?3){spare} RETURNING {COLUMNS}"
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
