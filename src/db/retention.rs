//! What retention reads and marks. A plan is made from one state of the catalogue; a deletion is claimed in one
//! transaction that makes the plan again, so that nothing is deleted that was pinned, used or needed meanwhile.

use std::collections::HashMap;

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params, types::Value};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    retention_policies as policies, row,
};
use crate::{
    domain::{
        backup::{BackupType, VerifyState},
        ids::{BackupId, DatabaseId, OrganizationId, PolicyId, ScheduleId, StoreId},
        restore::RestorePlan,
        retention::{self, Action, Decision, Entry, EntryStatus, Group, GroupPlan, PlannedBackup, Policy},
        schedule::ScheduleDetails,
        time::Moment,
    },
    error::Result,
};

/// What plans are made by, beside the catalogue.
#[derive(Debug, Clone)]
pub struct Judgement {
    pub now: Moment,
    /// No backup is kept longer, days, except the last good one and what is held.
    pub limit_days: u32,
    /// A policy to try out in the place of those that apply.
    pub draft: Option<Policy>,
}

/// A policy that applies to a group.
struct Applied {
    id: Option<PolicyId>,
    name: Option<String>,
    policy: Option<Policy>,
}

/// What became of the wish to delete a backup from a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Its files in that store are to be removed now; the reasons are those of the plan at this moment.
    Delete { reasons: Vec<String>, size_bytes: u64 },
    /// Something has changed since it was planned.
    Keep { reasons: Vec<String> },
}

/// Every group that has good or damaged backups, of one database or of all.
pub async fn groups(db: &Db, organization: OrganizationId, database: Option<DatabaseId>) -> Result<Vec<Group>> {
    let mut values = vec![text(organization)];
    let mut condition =
        "b.organization_id = ?1 AND b.status = 'completed' AND b.database_id IS NOT NULL AND b.instance_id IS NULL".to_owned();
    if let Some(database) = database {
        condition.push_str(" AND b.database_id = ?2");
        values.push(text(database));
    }
    db.read("listing what retention applies to", move |db| {
        let sql = format!(
            "SELECT b.database_id, b.schedule_id, b.partial, b.store_id FROM backups b WHERE {condition}
             UNION
             SELECT b.database_id, b.schedule_id, b.partial, c.store_id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
             WHERE c.status = 'complete' AND {condition}
             ORDER BY 1, 2, 3, 4"
        );
        query::all(db, &sql, &values, |row| {
            Ok(Group {
                database_id: row::parsed(row, "database_id")?,
                schedule_id: row::parsed_if_set(row, "schedule_id")?,
                store_id: row::parsed(row, "store_id")?,
                partial: row::plain(row, "partial")?,
            })
        })
    })
    .await
}

/// The plan for a group as the catalogue is now.
pub async fn plan(db: &Db, organization: OrganizationId, group: Group, judgement: &Judgement) -> Result<GroupPlan> {
    let judgement = judgement.clone();
    db.read("planning the retention", move |db| {
        let (applied, backups, decisions) = decide(db, organization, &group, &judgement)?;
        let entries: Vec<Entry> = backups.iter().map(|backup| backup.entry.clone()).collect();
        let (kept, deleted, deleted_bytes) = retention::totals(&decisions, &entries);
        let names = names(db, &group)?;
        Ok(GroupPlan {
            group,
            database_name: names.0,
            schedule_name: names.1,
            store_name: names.2,
            policy_id: applied.id,
            policy_name: applied.name,
            backups: backups.into_iter().zip(decisions).map(|(backup, decision)| backup.planned(decision)).collect(),
            kept,
            deleted,
            deleted_bytes,
        })
    })
    .await
}

/// Makes the plan for the group again and, when it still says so, marks the backup as being removed from the group's store:
/// all in one transaction. From then on nothing can be started that would use it there.
///
/// A backup that has a complete copy elsewhere lives on there.
pub async fn claim(db: &Db, organization: OrganizationId, group: Group, id: BackupId, judgement: &Judgement) -> Result<Claim> {
    // What is deleted is never decided by a policy that somebody only tries out.
    let judgement = Judgement { draft: None, ..judgement.clone() };
    db.write("marking the backup for deletion", move |db| {
        let (_, backups, decisions) = decide(db, organization, &group, &judgement)?;
        let planned = backups.iter().zip(decisions).find(|(backup, _)| backup.id == id);
        let Some((backup, decision)) = planned else {
            return Ok(Claim::Keep { reasons: vec!["it is gone, or not where it was any more".into()] });
        };
        if decision.action == Action::Keep {
            return Ok(Claim::Keep { reasons: decision.reasons });
        }
        mark(db, id, group.store_id, judgement.now)?;
        Ok(Claim::Delete { reasons: decision.reasons, size_bytes: backup.entry.size_bytes })
    })
    .await
}

/// Marks what is to go: the copy, the place that a copy takes over, or the backup as a whole.
fn mark(db: &Transaction<'_>, id: BackupId, store: StoreId, now: Moment) -> Outcome<()> {
    let (id, store) = (id.to_string(), store.to_string());
    let is_copy = db.execute(
        "UPDATE backup_copies SET status = 'deleting', error = NULL WHERE backup_id = ?1 AND store_id = ?2 AND status = 'complete'",
        params![id, store],
    )?;
    if is_copy > 0 {
        return Ok(());
    }
    let sql = "SELECT store_id FROM backup_copies WHERE backup_id = ?1 AND status = 'complete' ORDER BY created_at, store_id LIMIT 1";
    let Some(heir) = query::first(db, sql, &[text(&id)], |row| row::plain::<String>(row, "store_id"))? else {
        db.execute("UPDATE backups SET status = 'deleting' WHERE id = ?1 AND status = 'completed'", params![id])?;
        return Ok(());
    };
    db.execute("UPDATE backups SET store_id = ?2 WHERE id = ?1", params![id, heir])?;
    db.execute("UPDATE artifacts SET store_id = ?2 WHERE backup_id = ?1", params![id, heir])?;
    db.execute("DELETE FROM backup_copies WHERE backup_id = ?1 AND store_id = ?2", params![id, heir])?;
    db.execute(
        "INSERT INTO backup_copies (backup_id, store_id, status, created_at) VALUES (?1, ?2, 'deleting', ?3)
         ON CONFLICT (backup_id, store_id) DO UPDATE SET status = 'deleting', error = NULL",
        params![id, store, now.0],
    )?;
    Ok(())
}

/// A backup as it is read for a plan.
struct Read {
    id: BackupId,
    kind: BackupType,
    verify_state: VerifyState,
    entry: Entry,
}

impl Read {
    fn planned(self, decision: Decision) -> PlannedBackup {
        PlannedBackup {
            id: self.id,
            action: decision.action,
            reasons: decision.reasons,
            kind: self.kind,
            completed_at: self.entry.completed_at,
            size_bytes: self.entry.size_bytes,
            pinned: self.entry.pinned,
            verify_state: self.verify_state,
        }
    }
}

/// The one place where it is decided what goes: for previews and for runs.
fn decide(
    db: &Connection,
    organization: OrganizationId,
    group: &Group,
    judgement: &Judgement,
) -> Outcome<(Applied, Vec<Read>, Vec<Decision>)> {
    let applied = applied(db, group, judgement)?;
    let backups = history(db, organization, group)?;
    let entries: Vec<Entry> = backups.iter().map(|backup| backup.entry.clone()).collect();
    let decisions = retention::plan(applied.policy.as_ref(), &entries, judgement.now, Some(judgement.limit_days));
    Ok((applied, backups, decisions))
}

/// The group's policy: of the schedule's destination, of the schedule, or of the database's other backups. A policy or a
/// schedule that is gone keeps everything: removing a schedule must not delete what it made.
fn applied(db: &Connection, group: &Group, judgement: &Judgement) -> Outcome<Applied> {
    if let Some(draft) = &judgement.draft {
        return Ok(Applied { id: None, name: None, policy: Some(draft.clone()) });
    }
    let id = match group.schedule_id {
        Some(schedule) => policy_of_schedule(db, schedule, group.store_id)?,
        None => policies::manual(db, group.database_id)?,
    };
    let found = id.map(|id| policies::find(db, id)).transpose()?.flatten();
    Ok(Applied {
        id: found.as_ref().map(|found| found.id),
        name: found.as_ref().map(|found| found.name.clone()),
        policy: found.map(|found| found.policy),
    })
}

fn policy_of_schedule(db: &Connection, schedule: ScheduleId, store: StoreId) -> Outcome<Option<PolicyId>> {
    let sql = "SELECT retention_policy_id, details FROM schedules WHERE id = ?1";
    let found = query::first(db, sql, &[text(schedule)], |row| {
        let details: ScheduleDetails = row::json(row, "details")?;
        Ok((row::parsed_if_set(row, "retention_policy_id")?, details))
    })?;
    let Some((own, details)) = found else { return Ok(None) };
    let there = details.destinations.iter().find(|destination| destination.store_id == store);
    Ok(there.and_then(|destination| destination.retention_policy_id).or(own))
}

/// The stores that a schedule's backups go to: the first is written by the backup itself. None when it is gone.
pub async fn destinations(db: &Db, organization: OrganizationId, schedule: ScheduleId) -> Result<Vec<StoreId>> {
    db.read("reading the schedule's destinations", move |db| {
        let sql = "SELECT details FROM schedules WHERE organization_id = ?1 AND id = ?2";
        let details = query::first(db, sql, &[text(organization), text(schedule)], |row| row::json::<ScheduleDetails>(row, "details"))?;
        let destinations = details.map(|details| details.destinations).unwrap_or_default();
        Ok(destinations.into_iter().map(|destination| destination.store_id).collect())
    })
    .await
}

/// The group's good and damaged backups, newest first. Failed ones hold nothing: they are history, not backups. What another
/// installation has made is its own to delete, and nothing here relies on it.
fn history(db: &Connection, organization: OrganizationId, group: &Group) -> Outcome<Vec<Read>> {
    let held = held(db, organization, group.database_id)?;
    let mut values: Vec<Value> = vec![text(organization), text(group.database_id), text(group.store_id), group.partial.into()];
    let of_schedule = match group.schedule_id {
        Some(schedule) => {
            values.push(text(schedule));
            "b.schedule_id = ?5"
        }
        None => "b.schedule_id IS NULL",
    };
    let sql = format!(
        "SELECT b.id, b.type, b.verify_state, b.finished_at, b.pinned,
             (SELECT COALESCE(SUM(a.stored_size), 0) FROM artifacts a WHERE a.backup_id = b.id) AS size
         FROM backups b
         WHERE b.organization_id = ?1 AND b.database_id = ?2 AND b.status = 'completed' AND b.instance_id IS NULL AND b.partial = ?4 AND {of_schedule}
             AND (b.store_id = ?3 OR EXISTS (
                 SELECT 1 FROM backup_copies c WHERE c.backup_id = b.id AND c.store_id = ?3 AND c.status = 'complete'))
         ORDER BY b.finished_at DESC, b.id DESC"
    );
    query::all(db, &sql, &values, |row| read(row, &held))
}

fn read(row: &Row<'_>, held: &HashMap<BackupId, String>) -> Outcome<Read> {
    let id: BackupId = row::parsed(row, "id")?;
    let verify_state = row::parsed(row, "verify_state")?;
    let status = if verify_state == VerifyState::Corrupt { EntryStatus::Corrupt } else { EntryStatus::Completed };
    let entry = Entry {
        id: id.to_string(),
        completed_at: row::moment_if_set(row, "finished_at")?,
        status,
        size_bytes: row::count(row, "size")?,
        pinned: row::plain(row, "pinned")?,
        in_use: false,
        held: held.get(&id).cloned(),
    };
    Ok(Read { id, kind: row::parsed(row, "type")?, verify_state, entry })
}

/// Backups that stay whatever a policy says: what is read or worked on, what has still to be copied, and the database's last
/// good one.
fn held(db: &Connection, organization: OrganizationId, database: DatabaseId) -> Outcome<HashMap<BackupId, String>> {
    let mut held = HashMap::new();
    let mut hold = |sql: &str, values: &[Value], why: &str| -> Outcome<()> {
        for id in query::all(db, sql, values, |row| row::parsed::<BackupId>(row, "id"))? {
            held.insert(id, why.to_owned());
        }
        Ok(())
    };
    let last = "SELECT id FROM backups WHERE organization_id = ?1 AND database_id = ?2 AND status = 'completed'
                    AND verify_state <> 'corrupt' AND NOT partial AND instance_id IS NULL ORDER BY created_at DESC, id DESC LIMIT 1";
    hold(last, &[text(organization), text(database)], "the last good backup of the database")?;
    let to_copy = "SELECT c.backup_id AS id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
                   WHERE b.database_id = ?1 AND c.status IN ('queued', 'failed')";
    hold(to_copy, &[text(database)], "it still has to be copied to another store")?;
    for (id, why) in in_use(db, true)? {
        held.insert(id, why.to_owned());
    }
    Ok(held)
}

/// Backups that something reads now or is about to, with what it is. With `own` the jobs that made them are among it, which end
/// a moment after the backup is complete.
pub(super) fn in_use(db: &Connection, own: bool) -> Outcome<Vec<(BackupId, &'static str)>> {
    let jobs = "SELECT backup_id AS id FROM jobs
                WHERE status IN ('queued', 'running') AND backup_id IS NOT NULL AND (?1 OR kind <> 'backup')";
    let diffs = "SELECT before_backup_id AS id FROM diffs WHERE status IN ('queued', 'running') AND before_backup_id IS NOT NULL
                 UNION ALL
                 SELECT after_backup_id FROM diffs WHERE status IN ('queued', 'running') AND after_backup_id IS NOT NULL";
    let restores = "SELECT backup_id AS id FROM restores WHERE status IN ('queued', 'running') AND backup_id IS NOT NULL
                    UNION ALL
                    SELECT safety_backup_id FROM restores WHERE status IN ('queued', 'running') AND safety_backup_id IS NOT NULL";
    let mut used = Vec::new();
    for (sql, values, why) in [
        (jobs, vec![own.into()], "a job works on it"),
        (diffs, Vec::new(), "a comparison reads it"),
        (restores, Vec::new(), "a restore reads it, or has it as its way back"),
    ] {
        used.extend(query::all(db, sql, &values, |row| Ok((row::parsed::<BackupId>(row, "id")?, why)))?);
    }
    let plans = "SELECT plan FROM restores WHERE status IN ('queued', 'running')";
    for plan in query::all(db, plans, &[], |row| row::json::<RestorePlan>(row, "plan"))? {
        for id in sides(db, &plan)? {
            used.push((id, "rows of a comparison with it are being restored"));
        }
    }
    Ok(used)
}

/// The backups that a restore of compared rows reads.
pub(super) fn sides(db: &Connection, plan: &RestorePlan) -> Outcome<Vec<BackupId>> {
    let Some(rows) = &plan.rows else { return Ok(Vec::new()) };
    let sql = "SELECT before_backup_id, after_backup_id FROM diffs WHERE id = ?1";
    let read =
        |row: &Row<'_>| -> Outcome<_> { Ok([row::parsed_if_set(row, "before_backup_id")?, row::parsed_if_set(row, "after_backup_id")?]) };
    Ok(query::first(db, sql, &[text(rows.diff_id)], read)?.into_iter().flatten().flatten().collect())
}

/// Names of the group's database, schedule and store.
fn names(db: &Connection, group: &Group) -> Outcome<(String, Option<String>, String)> {
    let name = |table: &str, id: String| {
        query::first(db, &format!("SELECT name FROM {table} WHERE id = ?1"), &[text(id)], |row| row::plain::<String>(row, "name"))
    };
    let schedule = group.schedule_id.map(|id| name("schedules", id.to_string())).transpose()?.flatten();
    let database = name("databases", group.database_id.to_string())?.unwrap_or_default();
    Ok((database, schedule, name("stores", group.store_id.to_string())?.unwrap_or_default()))
}
