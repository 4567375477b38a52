//! What became of each slot of a schedule. One slot has one row: that is what makes it run at most once.

use std::collections::HashMap;

use deadpool_sqlite::rusqlite::{Row, Transaction, params, types::Value};

use super::{
    Db, backups,
    fault::Outcome,
    jobs,
    query::{self, Conditions, text},
    row, schedules,
};
use crate::{
    domain::{
        backup::Backup,
        ids::{BackupId, JobId, OrganizationId, RunId, ScheduleId},
        job::Job,
        page::{Page, PageRequest},
        schedule::{RunStatus, ScheduleRun},
        time::Moment,
    },
    error::Result,
};

const COLUMNS: &str = "id, schedule_id, slot, status, reason, slots, not_before, job_id, backup_id, created_at, finished_at";

/// Slots that are due, as they are taken.
#[derive(Debug, Clone, Default)]
pub struct Taking {
    /// The schedule's next slot before, and after.
    pub from: Option<Moment>,
    pub to: Option<Moment>,
    /// One run for each slot, and at most one for several missed ones.
    pub runs: Vec<ScheduleRun>,
    /// The first slot that the missed run stands for.
    pub first_missed: Option<Moment>,
    /// Slots among these that an earlier missed run stands for too: it no longer counts them.
    pub recounted: Vec<(RunId, u64)>,
}

/// Takes slots: writes their rows and moves the schedule on, both or neither. A slot that has a row already gets no other.
/// False when the schedule was changed meanwhile: nothing is taken then.
pub async fn take(db: &Db, schedule: ScheduleId, taking: Taking) -> Result<bool> {
    db.write("taking due slots", move |db| {
        if !schedules::advance(db, schedule, taking.from, taking.to)? {
            return Ok(false);
        }
        for run in &taking.runs {
            let first = taking.first_missed.filter(|_| run.status == RunStatus::Missed);
            insert_row(db, run, first.unwrap_or(run.slot))?;
        }
        for (run, slots) in &taking.recounted {
            let sql = "UPDATE schedule_runs SET slots = slots - ?2 WHERE id = ?1 AND slots > ?2";
            db.execute(sql, params![run.to_string(), row::to_count(*slots)?])?;
        }
        Ok(true)
    })
    .await
}

/// Missed runs that stand for slots before their own which are not earlier than `since`, with the first of them.
pub async fn missed_since(db: &Db, schedule: ScheduleId, since: Moment) -> Result<Vec<(Moment, ScheduleRun)>> {
    db.read("reading missed runs", move |db| {
        let sql = format!(
            "SELECT first_slot, {COLUMNS} FROM schedule_runs WHERE schedule_id = ?1 AND status = 'missed' AND slot > ?2 AND slots > 1 ORDER BY slot"
        );
        query::all(db, &sql, &[text(schedule), since.0.into()], |row| Ok((row::moment(row, "first_slot")?, read(row)?)))
    })
    .await
}

/// Adds one row, for a slot that no clock but something else has brought about. False when the slot has one already.
pub async fn insert(db: &Db, run: &ScheduleRun) -> Result<bool> {
    let run = run.clone();
    db.write("saving a run", move |db| insert_row(db, &run, run.slot)).await
}

fn insert_row(db: &Transaction<'_>, run: &ScheduleRun, first_slot: Moment) -> Outcome<bool> {
    let inserted = db.execute(
        "INSERT INTO schedule_runs (id, schedule_id, slot, status, reason, slots, not_before, job_id, backup_id, created_at, finished_at,
             told, first_slot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (schedule_id, slot) DO NOTHING",
        params![
            run.id.to_string(),
            run.schedule_id.to_string(),
            run.slot.0,
            run.status.as_str(),
            run.reason,
            row::to_count(run.slots)?,
            run.not_before.0,
            run.job_id.map(|id| id.to_string()),
            run.backup_id.map(|id| id.to_string()),
            run.created_at.0,
            run.finished_at.map(|at| at.0),
            run.status != RunStatus::Missed,
            first_slot.0,
        ],
    )?;
    Ok(inserted > 0)
}

/// Adds a missed run that people are to be told of, at `at` or at the first moment after it that has no run.
pub(super) fn insert_missed(db: &Transaction<'_>, schedule: ScheduleId, at: Moment, reason: &str) -> Outcome<()> {
    let mut run = ScheduleRun {
        id: RunId::new(),
        schedule_id: schedule,
        slot: at,
        status: RunStatus::Missed,
        reason: Some(reason.to_owned()),
        slots: 1,
        not_before: at,
        job_id: None,
        backup_id: None,
        created_at: at,
        finished_at: Some(at),
    };
    while !insert_row(db, &run, run.slot)? {
        run.slot = run.slot.plus(1);
    }
    Ok(())
}

/// Queues the backup of a run that waits or is new: its row, its job and what the run says, all or nothing. False when the
/// run does not wait any more, when another one has its slot, or with `alone` while another run of the schedule is open.
pub async fn start(db: &Db, organization: OrganizationId, run: &ScheduleRun, alone: bool, backup: &Backup, job: &Job) -> Result<bool> {
    let (run, backup, job) = (run.clone(), backup.clone(), job.clone());
    db.write("starting a run", move |db| {
        let open = "SELECT 1 FROM schedule_runs WHERE schedule_id = ?1 AND status IN ('waiting', 'queued') LIMIT 1";
        if alone && query::first(db, open, &[text(run.schedule_id)], |_| Ok(()))?.is_some() {
            return Ok(false);
        }
        insert_row(db, &run, run.slot)?;
        let sql =
            "UPDATE schedule_runs SET status = 'queued', reason = NULL, job_id = ?2, backup_id = ?3 WHERE id = ?1 AND status = 'waiting'";
        if db.execute(sql, params![run.id.to_string(), job.id.to_string(), backup.id.to_string()])? == 0 {
            return Ok(false);
        }
        backups::insert_row(db, organization, &backup)?;
        jobs::insert_row(db, organization, &job)?;
        Ok(true)
    })
    .await
}

/// Lets a waiting run wait on, until it is looked at again at `not_before`.
pub async fn postpone(db: &Db, run: RunId, not_before: Moment, reason: &str) -> Result<()> {
    let reason = reason.to_owned();
    db.write("letting a run wait", move |db| {
        let sql = "UPDATE schedule_runs SET not_before = ?2, reason = ?3 WHERE id = ?1 AND status = 'waiting'";
        db.execute(sql, params![run.to_string(), not_before.0, reason])?;
        Ok(())
    })
    .await
}

/// Ends a run that is waiting or queued. False when it had ended.
pub async fn finish(db: &Db, run: RunId, status: RunStatus, reason: Option<&str>, at: Moment) -> Result<bool> {
    let reason = reason.map(str::to_owned);
    db.write("ending a run", move |db| {
        let sql = "UPDATE schedule_runs SET status = ?2, reason = ?3, finished_at = ?4, told = (?2 <> 'missed')
                   WHERE id = ?1 AND status IN ('waiting', 'queued')";
        Ok(db.execute(sql, params![run.to_string(), status.as_str(), reason, at.0])? > 0)
    })
    .await
}

/// Follows the job of a run: a retry has made another backup.
pub async fn set_backup(db: &Db, run: RunId, backup: BackupId) -> Result<()> {
    db.write("recording the run's backup", move |db| {
        db.execute("UPDATE schedule_runs SET backup_id = ?2 WHERE id = ?1", params![run.to_string(), backup.to_string()])?;
        Ok(())
    })
    .await
}

/// Waiting runs that are to be looked at now, in the order of their slots; those too that were made later than now, under
/// a clock that was set back since.
pub async fn due(db: &Db, now: Moment) -> Result<Vec<(OrganizationId, ScheduleRun)>> {
    with_organization(db, "run.status = 'waiting' AND (run.not_before <= ?1 OR run.created_at > ?1)", vec![now.0.into()]).await
}

/// Missed slots that people were not told of yet, in the order of their slots.
pub async fn untold(db: &Db) -> Result<Vec<(OrganizationId, ScheduleRun)>> {
    with_organization(db, "NOT run.told", Vec::new()).await
}

/// People were told of a missed slot.
pub async fn mark_told(db: &Db, run: RunId) -> Result<()> {
    db.write("recording that a missed run was told", move |db| {
        db.execute("UPDATE schedule_runs SET told = TRUE WHERE id = ?1", params![run.to_string()])?;
        Ok(())
    })
    .await
}

async fn with_organization(db: &Db, condition: &'static str, values: Vec<Value>) -> Result<Vec<(OrganizationId, ScheduleRun)>> {
    db.read("listing runs", move |db| {
        let columns = COLUMNS.split(", ").map(|column| format!("run.{column} AS {column}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT schedule.organization_id AS organization_id, {columns} FROM schedule_runs AS run
             JOIN schedules AS schedule ON schedule.id = run.schedule_id WHERE {condition} ORDER BY run.slot, run.id"
        );
        query::all(db, &sql, &values, |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// The latest run of each of some schedules.
pub async fn latest(db: &Db, schedules: &[ScheduleId]) -> Result<HashMap<ScheduleId, ScheduleRun>> {
    let schedules: Vec<Value> = schedules.iter().map(text).collect();
    db.read("reading the latest runs", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM schedule_runs WHERE schedule_id = ?1 ORDER BY slot DESC LIMIT 1");
        let mut latest = HashMap::new();
        for schedule in schedules {
            latest.extend(query::first(db, &sql, &[schedule], read)?.map(|run| (run.schedule_id, run)));
        }
        Ok(latest)
    })
    .await
}

/// Runs of a schedule that wait or whose job is open, in the order of their slots.
pub async fn open(db: &Db, schedule: ScheduleId) -> Result<Vec<ScheduleRun>> {
    let condition = "schedule_id = ?1 AND status IN ('waiting', 'queued') ORDER BY slot, id";
    matching(db, condition, vec![text(schedule)]).await
}

/// The slots from `first` to `last` that have a row.
pub async fn known_slots(db: &Db, schedule: ScheduleId, first: Moment, last: Moment) -> Result<Vec<Moment>> {
    db.read("reading past runs", move |db| {
        let sql = "SELECT slot FROM schedule_runs WHERE schedule_id = ?1 AND slot BETWEEN ?2 AND ?3 ORDER BY slot";
        query::all(db, sql, &[text(schedule), first.0.into(), last.0.into()], |row| row::moment(row, "slot"))
    })
    .await
}

/// The run that a job belongs to.
pub async fn by_job(db: &Db, job: JobId) -> Result<Option<ScheduleRun>> {
    Ok(matching(db, "job_id = ?1 ORDER BY slot, id", vec![text(job)]).await?.into_iter().next())
}

/// The history of a schedule, the latest slot first. The caller has read the schedule through its organization.
pub async fn list(db: &Db, schedule: ScheduleId, page: PageRequest) -> Result<Page<ScheduleRun>> {
    let conditions = Conditions::new("schedule_id = ?", text(schedule));
    db.read("listing the runs", move |db| conditions.page(db, COLUMNS, "schedule_runs", "slot DESC, id DESC", page, read)).await
}

async fn matching(db: &Db, condition: &'static str, values: Vec<Value>) -> Result<Vec<ScheduleRun>> {
    db.read("reading runs", move |db| query::all(db, &format!("SELECT {COLUMNS} FROM schedule_runs WHERE {condition}"), &values, read))
        .await
}

fn read(row: &Row<'_>) -> Outcome<ScheduleRun> {
    Ok(ScheduleRun {
        id: row::parsed(row, "id")?,
        schedule_id: row::parsed(row, "schedule_id")?,
        slot: row::moment(row, "slot")?,
        status: row::parsed(row, "status")?,
        reason: row::plain(row, "reason")?,
        slots: row::count(row, "slots")?,
        not_before: row::moment(row, "not_before")?,
        job_id: row::parsed_if_set(row, "job_id")?,
        backup_id: row::parsed_if_set(row, "backup_id")?,
        created_at: row::moment(row, "created_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
    })
}
