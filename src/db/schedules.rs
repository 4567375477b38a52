//! Schedules. The heartbeat address is a secret: it is sealed, and read apart from the rest.

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, Conditions, holding, text},
    row, schedule_runs,
};
use crate::{
    domain::{
        cron,
        filter::ScheduleFilter,
        ids::{DatabaseId, OrganizationId, ScheduleId},
        page::{Page, PageRequest},
        schedule::Schedule,
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, name, database_id, enabled, cron, after_schedule_id, time_zone, retention_policy_id, details,
     heartbeat_url IS NOT NULL AS heartbeat, next_run_at, created_at, updated_at";

/// What becomes of the sealed heartbeat address.
#[derive(Debug, Clone)]
pub enum Heartbeat {
    Keep,
    Remove,
    Sealed(String),
}

/// Errors with `Conflict` when the organization has a schedule of that name.
pub async fn insert(db: &Db, organization: OrganizationId, schedule: &Schedule, heartbeat: Heartbeat) -> Result<()> {
    let schedule = schedule.clone();
    db.write("saving the schedule", move |db| {
        db.execute(
            "INSERT INTO schedules (id, organization_id, database_id, name, enabled, time_zone, details, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}', ?7, ?7)",
            params![
                schedule.id.to_string(),
                organization.to_string(),
                schedule.database_id.to_string(),
                schedule.name,
                schedule.enabled,
                schedule.time_zone.name(),
                schedule.created_at.0
            ],
        )?;
        update_row(db, organization, &schedule, &heartbeat)
    })
    .await
}

/// Saves everything but the time of creation.
pub async fn update(db: &Db, organization: OrganizationId, schedule: &Schedule, heartbeat: Heartbeat) -> Result<()> {
    let schedule = schedule.clone();
    db.write("saving the schedule", move |db| update_row(db, organization, &schedule, &heartbeat)).await
}

/// Enables or disables a schedule; the rest of it stays as it is. `next` is the slot that is due next by the times of `before`:
/// when they were changed meanwhile the next look at the schedules finds the right one. Of one that is so already nothing changes.
pub async fn set_enabled(
    db: &Db,
    organization: OrganizationId,
    before: &Schedule,
    enabled: bool,
    next: Option<Moment>,
    at: Moment,
) -> Result<()> {
    let before = before.clone();
    db.write("saving the schedule", move |db| {
        let sql = "UPDATE schedules SET enabled = ?3, updated_at = ?5, expected_since = ?5,
                       next_run_at = CASE WHEN COALESCE(cron, '') = COALESCE(?6, '') AND time_zone = ?7 THEN ?4 END
                   WHERE organization_id = ?1 AND id = ?2 AND enabled <> ?3";
        let (organization, id) = (organization.to_string(), before.id.to_string());
        db.execute(sql, params![organization, id, enabled, next.map(|at| at.0), at.0, before.cron, before.time_zone.name()])?;
        Ok(())
    })
    .await
}

fn update_row(db: &Transaction<'_>, organization: OrganizationId, schedule: &Schedule, heartbeat: &Heartbeat) -> Outcome<()> {
    let changed = db.execute(
        "UPDATE schedules SET database_id = ?3, name = ?4, enabled = ?5, cron = ?6, after_schedule_id = ?7, time_zone = ?8,
             retention_policy_id = ?9, details = ?10, next_run_at = ?11, updated_at = ?12,
             expected_since = CASE WHEN enabled = ?5 AND COALESCE(cron, '') = COALESCE(?6, '') AND time_zone = ?8 AND database_id = ?3
                 AND COALESCE(after_schedule_id, '') = COALESCE(?7, '') THEN expected_since ELSE ?12 END
         WHERE organization_id = ?1 AND id = ?2",
        params![
            organization.to_string(),
            schedule.id.to_string(),
            schedule.database_id.to_string(),
            schedule.name,
            schedule.enabled,
            schedule.cron,
            schedule.after_schedule_id.map(|id| id.to_string()),
            schedule.time_zone.name(),
            schedule.retention_policy_id.map(|id| id.to_string()),
            row::to_json(&schedule.details)?,
            schedule.next_run_at.map(|at| at.0),
            schedule.updated_at.0,
        ],
    )?;
    if changed == 0 {
        return Err(missing(schedule.id).into());
    }
    let sealed = match heartbeat {
        Heartbeat::Keep => return Ok(()),
        Heartbeat::Remove => None,
        Heartbeat::Sealed(sealed) => Some(sealed),
    };
    db.execute("UPDATE schedules SET heartbeat_url = ?2 WHERE id = ?1", params![schedule.id.to_string(), sealed])?;
    Ok(())
}

/// Forgets the schedule and the history of its slots; its backups stay. What runs after it: see [`let_go`].
pub async fn delete(db: &Db, organization: OrganizationId, id: ScheduleId, disable: bool, at: Moment) -> Result<Vec<Dependent>> {
    db.write("removing the schedule", move |db| {
        let dependents = let_go(db, organization, &Parents::One(id), disable, at)?;
        let sql = "DELETE FROM schedules WHERE organization_id = ?1 AND id = ?2";
        if db.execute(sql, params![organization.to_string(), id.to_string()])? == 0 { Err(missing(id).into()) } else { Ok(dependents) }
    })
    .await
}

/// A schedule that runs after one that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    pub id: ScheduleId,
    pub name: String,
    pub enabled: bool,
    /// Name of the schedule that it runs after.
    pub after: String,
}

/// Schedules that are to go.
#[derive(Debug, Clone)]
pub enum Parents {
    One(ScheduleId),
    /// All of a database.
    Of(DatabaseId),
}

/// What runs after these schedules and stays when they go, by name.
pub async fn dependents(db: &Db, organization: OrganizationId, parents: Parents) -> Result<Vec<Dependent>> {
    db.read("listing what runs after the schedule", move |db| dependents_of(db, organization, &parents)).await
}

fn dependents_of(db: &Connection, organization: OrganizationId, parents: &Parents) -> Outcome<Vec<Dependent>> {
    let (which, value) = match parents {
        Parents::One(id) => ("parent.id = ?2", text(id)),
        Parents::Of(database) => ("parent.database_id = ?2 AND child.database_id <> ?2", text(database)),
    };
    let sql = format!(
        "SELECT child.id AS id, child.name AS name, child.enabled AS enabled, parent.name AS parent_name
         FROM schedules AS child JOIN schedules AS parent ON parent.id = child.after_schedule_id
         WHERE parent.organization_id = ?1 AND {which} ORDER BY child.name, child.id"
    );
    query::all(db, &sql, &[text(organization), value], |row| {
        Ok(Dependent {
            id: row::parsed(row, "id")?,
            name: row::plain(row, "name")?,
            enabled: row::plain(row, "enabled")?,
            after: row::plain(row, "parent_name")?,
        })
    })
}

/// Schedules that run after one that goes would never start again, and nobody would notice. They are named in an error with
/// `Conflict`; or, with `disable`, they are disabled, and those that were enabled get a missed run that people are told of.
pub(super) fn let_go(
    db: &Transaction<'_>,
    organization: OrganizationId,
    parents: &Parents,
    disable: bool,
    at: Moment,
) -> Outcome<Vec<Dependent>> {
    let dependents = dependents_of(db, organization, parents)?;
    if !disable && !dependents.is_empty() {
        let told = |one: &Dependent| (format!("dependents.{}", one.id), format!("'{}' runs after '{}'", one.name, one.after));
        let names: Vec<String> = dependents.iter().map(|one| format!("'{}'", one.name)).collect();
        return Err(Error::conflict(format!("it cannot be removed: {} would never start again", names.join(", ")))
            .hint("give what runs after it another start, or say that it is to be disabled (disableDependents=true)")
            .fields(dependents.iter().map(told).collect())
            .into());
    }
    for dependent in &dependents {
        let sql = "UPDATE schedules SET enabled = FALSE, after_schedule_id = NULL, next_run_at = NULL, updated_at = ?2 WHERE id = ?1";
        db.execute(sql, params![dependent.id.to_string(), at.0])?;
        if dependent.enabled {
            let reason = format!("it never runs again: the schedule that it waited for, '{}', was removed", dependent.after);
            schedule_runs::insert_missed(db, dependent.id, at, &reason)?;
        }
    }
    Ok(dependents)
}

pub async fn get(db: &Db, organization: OrganizationId, id: ScheduleId) -> Result<Schedule> {
    db.read("reading the schedule", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM schedules WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// By name.
pub async fn list(db: &Db, organization: OrganizationId, filter: &ScheduleFilter, page: PageRequest) -> Result<Page<Schedule>> {
    let conditions = Conditions::new("organization_id = ?", text(organization))
        .and("database_id = ?", filter.database_id.map(text))
        .and("enabled = ?", filter.enabled)
        .and("LOWER(name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding));
    db.read("listing the schedules", move |db| conditions.page(db, COLUMNS, "schedules", "name, id", page, read)).await
}

/// Those of one database, by name.
pub async fn by_database(db: &Db, organization: OrganizationId, database: DatabaseId) -> Result<Vec<Schedule>> {
    matching(db, "organization_id = ?1 AND database_id = ?2", vec![text(organization), text(database)]).await
}

/// Those that run after another one has succeeded, by name.
pub async fn after(db: &Db, organization: OrganizationId, parent: ScheduleId) -> Result<Vec<Schedule>> {
    matching(db, "organization_id = ?1 AND after_schedule_id = ?2", vec![text(organization), text(parent)]).await
}

/// The enabled ones that are due next, the soonest first.
pub async fn upcoming(db: &Db, organization: OrganizationId, limit: u32) -> Result<Vec<Schedule>> {
    db.read("listing the next runs", move |db| {
        let sql = format!(
            "SELECT {COLUMNS} FROM schedules WHERE organization_id = ?1 AND next_run_at IS NOT NULL ORDER BY next_run_at, name LIMIT ?2"
        );
        query::all(db, &sql, &[text(organization), i64::from(limit).into()], read)
    })
    .await
}

/// Every enabled one, with its organization.
pub async fn all_enabled(db: &Db) -> Result<Vec<(OrganizationId, Schedule)>> {
    db.read("listing the enabled schedules", move |db| {
        let sql = format!("SELECT organization_id, {COLUMNS} FROM schedules WHERE enabled ORDER BY next_run_at, id");
        query::all(db, &sql, &[], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// All of them, each with the moment since when it is started as it is now: when it was made, switched on or off last, or
/// given other times.
pub async fn all_with_their_beginning(db: &Db, organization: OrganizationId) -> Result<Vec<(Schedule, Moment)>> {
    db.read("listing the schedules", move |db| {
        let sql = format!("SELECT {COLUMNS}, COALESCE(expected_since, created_at) AS since FROM schedules WHERE organization_id = ?1");
        query::all(db, &sql, &[text(organization)], |row| Ok((read(row)?, row::moment(row, "since")?)))
    })
    .await
}

/// The sealed heartbeat address, where one is set.
pub async fn heartbeat_url(db: &Db, organization: OrganizationId, id: ScheduleId) -> Result<Option<String>> {
    db.read("reading the heartbeat address", move |db| {
        let sql = "SELECT heartbeat_url FROM schedules WHERE organization_id = ?1 AND id = ?2";
        Ok(query::first(db, sql, &[text(organization), text(id)], |row| row::plain(row, "heartbeat_url"))?.flatten())
    })
    .await
}

/// Moves the next slot, unless somebody has changed it meanwhile.
pub async fn move_next(db: &Db, id: ScheduleId, from: Option<Moment>, to: Option<Moment>) -> Result<bool> {
    db.write("setting the next run", move |db| advance(db, id, from, to)).await
}

/// [`move_next`] as part of a larger change.
pub(super) fn advance(db: &Transaction<'_>, id: ScheduleId, from: Option<Moment>, to: Option<Moment>) -> Outcome<bool> {
    let sql = "UPDATE schedules SET next_run_at = ?3 WHERE id = ?1 AND enabled AND COALESCE(next_run_at, -1) = COALESCE(?2, -1)";
    Ok(db.execute(sql, params![id.to_string(), from.map(|at| at.0), to.map(|at| at.0)])? > 0)
}

async fn matching(db: &Db, condition: &'static str, values: Vec<deadpool_sqlite::rusqlite::types::Value>) -> Result<Vec<Schedule>> {
    db.read("listing the schedules", move |db: &Connection| {
        query::all(db, &format!("SELECT {COLUMNS} FROM schedules WHERE {condition} ORDER BY name, id"), &values, read)
    })
    .await
}

fn missing(id: ScheduleId) -> Error {
    Error::not_found(format_args!("schedule {id}"))
}

fn read(row: &Row<'_>) -> Outcome<Schedule> {
    let zone: String = row::plain(row, "time_zone")?;
    Ok(Schedule {
        id: row::parsed(row, "id")?,
        name: row::plain(row, "name")?,
        database_id: row::parsed(row, "database_id")?,
        enabled: row::plain(row, "enabled")?,
        cron: row::plain(row, "cron")?,
        after_schedule_id: row::parsed_if_set(row, "after_schedule_id")?,
        time_zone: cron::zone(&zone)?,
        retention_policy_id: row::parsed_if_set(row, "retention_policy_id")?,
        details: row::json(row, "details")?,
        heartbeat: row::plain(row, "heartbeat")?,
        next_run_at: row::moment_if_set(row, "next_run_at")?,
        created_at: row::moment(row, "created_at")?,
        updated_at: row::moment(row, "updated_at")?,
    })
}
