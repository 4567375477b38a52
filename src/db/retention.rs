//! What retention reads and marks. A plan is made from one state of the catalogue; a deletion is claimed in one
//! transaction that makes the plan again, so that nothing is deleted that was pinned, used or needed meanwhile.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db, backup_copies,
    fault::Outcome,
    in_use,
    query::{self, text},
    retention_policies as policies, row,
};
use crate::{
    domain::{
        backup::{BackupType, VerifyState},
        ids::{BackupId, DatabaseId, OrganizationId, PolicyId, ScheduleId, StoreId},
        retention::{self, Action, Decision, Entry, EntryStatus, Group, GroupPlan, PlannedBackup, Policy},
        schedule::ScheduleDetails,
        time::Moment,
    },
    error::Result,
};

/// Milliseconds.
const DAY_MS: i64 = 86_400_000;

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

/// The plan for every group that has good or damaged backups, of one database or of all, from one state of the catalogue.
pub async fn plans(db: &Db, organization: OrganizationId, database: Option<DatabaseId>, judgement: &Judgement) -> Result<Vec<GroupPlan>> {
    let judgement = judgement.clone();
    db.read("planning the retention", move |db| {
        // Whatever is written meanwhile: all of it is judged as of one moment.
        let state = db.unchecked_transaction()?;
        let held = in_use::held(&state, organization, database, judgement.now)?;
        let mut plans = Vec::new();
        for (group, backups) in history(&state, organization, &Part { database, group: None }, &held)? {
            let applied = applied(&state, &group, &judgement)?;
            let (facts, entries, decisions) = decide(&applied, backups, &judgement);
            let (kept, deleted, deleted_bytes) = retention::totals(&decisions, &entries);
            let names = names(&state, &group)?;
            let planned = facts.into_iter().zip(entries).zip(decisions);
            plans.push(GroupPlan {
                group,
                database_name: names.0,
                schedule_name: names.1,
                store_name: names.2,
                policy_id: applied.id,
                policy_name: applied.name,
                backups: planned.map(|((facts, entry), decision)| facts.planned(&entry, decision)).collect(),
                kept,
                deleted,
                deleted_bytes,
            });
        }
        Ok(plans)
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
        let database = Some(group.database_id);
        let held = in_use::held(db, organization, database, judgement.now)?;
        let backups = history(db, organization, &Part { database, group: Some(group) }, &held)?.remove(&group).unwrap_or_default();
        let (facts, entries, decisions) = decide(&applied(db, &group, &judgement)?, backups, &judgement);
        let planned = facts.iter().zip(entries).zip(decisions).find(|((facts, _), _)| facts.id == id);
        let Some(((_, entry), decision)) = planned else {
            return Ok(Claim::Keep { reasons: vec!["it is gone, or not where it was any more".into()] });
        };
        if decision.action == Action::Keep {
            return Ok(Claim::Keep { reasons: decision.reasons });
        }
        mark(db, id, group.store_id, judgement.now)?;
        Ok(Claim::Delete { reasons: decision.reasons, size_bytes: entry.size_bytes })
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
    backup_copies::hand_over(db, &id, &store, &heir, "deleting", None, now)
}

/// What a plan tells of a backup, beside what it is judged by.
struct Facts {
    id: BackupId,
    kind: BackupType,
    verify_state: VerifyState,
}

impl Facts {
    fn planned(self, entry: &Entry, decision: Decision) -> PlannedBackup {
        PlannedBackup {
            id: self.id,
            action: decision.action,
            reasons: decision.reasons,
            kind: self.kind,
            completed_at: entry.completed_at,
            size_bytes: entry.size_bytes,
            pinned: entry.pinned,
            verify_state: self.verify_state,
        }
    }
}

/// The one place where it is decided what goes: for previews and for runs. Newest first.
fn decide(applied: &Applied, mut backups: Vec<(Facts, Entry)>, judgement: &Judgement) -> (Vec<Facts>, Vec<Entry>, Vec<Decision>) {
    backups.sort_by_key(|(facts, entry)| Reverse((entry.completed_at, facts.id)));
    let (facts, entries): (Vec<_>, Vec<_>) = backups.into_iter().unzip();
    let decisions = retention::plan(applied.policy.as_ref(), &entries, judgement.now, Some(judgement.limit_days));
    (facts, entries, decisions)
}

/// The group's policy: of the schedule's destination, of the schedule, or of the database's other backups. A policy or a
/// schedule that is gone keeps everything, and so does a store that is none of the schedule's destinations any more: removing
/// them must not delete what was made.
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
    Ok(details.policy_in(store, own))
}

/// True when nothing of a database can be due for deletion, told without reading its history: no policy applies to any of its
/// backups, and none is near the age that is the limit for all.
pub async fn nothing_due(db: &Db, organization: OrganizationId, database: DatabaseId, judgement: &Judgement) -> Result<bool> {
    // A day more: a backup is judged by its end, and a clock may have been set back while it was made.
    let young = judgement.now.plus(-i64::from(judgement.limit_days).saturating_sub(1).saturating_mul(DAY_MS));
    db.read("looking for what retention may delete", move |db| {
        if policies::manual(db, database)?.is_some() {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM backups WHERE database_id = ?2 AND status = 'completed' AND created_at < ?3
                   UNION ALL
                   SELECT 1 FROM schedules s WHERE s.organization_id = ?1
                       AND (s.retention_policy_id IS NOT NULL OR s.details LIKE '%\"retentionPolicyId\"%')
                       AND EXISTS (SELECT 1 FROM backups b WHERE b.schedule_id = s.id AND b.database_id = ?2)
                   LIMIT 1";
        let values = [text(organization), text(database), young.0.into()];
        Ok(query::first(db, sql, &values, |_| Ok(()))?.is_none())
    })
    .await
}

/// The stores that hold good backups of a schedule.
pub async fn stores_of(db: &Db, organization: OrganizationId, schedule: ScheduleId) -> Result<Vec<StoreId>> {
    db.read("listing where the schedule's backups are", move |db| {
        let sql =
            "SELECT b.store_id AS store_id FROM backups b WHERE b.organization_id = ?1 AND b.schedule_id = ?2 AND b.status = 'completed'
             UNION
             SELECT c.store_id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
             WHERE b.organization_id = ?1 AND b.schedule_id = ?2 AND b.status = 'completed' AND c.status = 'complete'";
        query::all(db, sql, &[text(organization), text(schedule)], |row| row::parsed(row, "store_id"))
    })
    .await
}

/// The stores that a schedule's backups go to: the first is written by the backup itself. None when it is gone.
pub async fn destinations(db: &Db, organization: OrganizationId, schedule: ScheduleId) -> Result<Vec<StoreId>> {
    db.read("reading the schedule's destinations", move |db| destinations_of(db, organization, schedule)).await
}

pub(super) fn destinations_of(db: &Connection, organization: OrganizationId, schedule: ScheduleId) -> Outcome<Vec<StoreId>> {
    let sql = "SELECT details FROM schedules WHERE organization_id = ?1 AND id = ?2";
    let details = query::first(db, sql, &[text(organization), text(schedule)], |row| row::json::<ScheduleDetails>(row, "details"))?;
    let destinations = details.map(|details| details.destinations).unwrap_or_default();
    Ok(destinations.into_iter().map(|destination| destination.store_id).collect())
}

/// The backups that are looked at.
struct Part {
    database: Option<DatabaseId>,
    /// Of these only one group.
    group: Option<Group>,
}

/// Good and damaged backups, group by group. Failed ones hold nothing: they are history, not backups. What another installation
/// has made is its own to delete, and nothing here relies on it.
fn history(
    db: &Connection,
    organization: OrganizationId,
    part: &Part,
    held: &HashMap<BackupId, String>,
) -> Outcome<BTreeMap<Group, Vec<(Facts, Entry)>>> {
    let mut condition =
        "b.organization_id = ?1 AND b.status = 'completed' AND b.database_id IS NOT NULL AND b.instance_id IS NULL".to_owned();
    let mut values = vec![text(organization)];
    if let Some(database) = part.database {
        values.push(text(database));
        condition.push_str(" AND b.database_id = ?2");
    }
    match part.group {
        Some(Group { schedule_id: Some(schedule), .. }) => {
            values.push(text(schedule));
            condition.push_str(" AND b.schedule_id = ?3");
        }
        Some(_) => condition.push_str(" AND b.schedule_id IS NULL"),
        None => {}
    }
    let columns = "b.id, b.type, b.verify_state, b.finished_at, b.pinned,
         (SELECT COALESCE(SUM(a.stored_size), 0) FROM artifacts a WHERE a.backup_id = b.id) AS size, b.database_id, b.schedule_id, b.partial";
    let own = format!(
        "SELECT {columns}, b.store_id FROM backups b WHERE {condition} ORDER BY b.database_id, b.schedule_id, b.partial, b.store_id"
    );
    let copies = format!(
        "SELECT {columns}, c.store_id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
         WHERE c.status = 'complete' AND c.store_id <> b.store_id AND {condition}"
    );
    let mut groups: BTreeMap<Group, Vec<(Facts, Entry)>> = BTreeMap::new();
    for sql in [own, copies] {
        // Rows of one group follow each other: its ids are read once.
        let mut last: Option<(String, Group)> = None;
        let mut backups = Vec::new();
        query::each(db, &sql, &values, |row| {
            let (facts, entry) = read(row, held)?;
            let place = [row::text(row, 6)?, row::text_if_set(row, 7)?.unwrap_or_default(), row::text(row, 9)?].concat();
            let (partial, safety) = (row.get(8)?, facts.kind == BackupType::Safety);
            match &last {
                Some((known, group)) if *known == place && group.partial == partial && group.safety == safety => {}
                _ => {
                    if let Some((_, group)) = last.take() {
                        groups.entry(group).or_default().append(&mut backups);
                    }
                    last = Some((place, group(row, partial, safety)?));
                }
            }
            backups.push((facts, entry));
            Ok(())
        })?;
        if let Some((_, group)) = last {
            groups.entry(group).or_default().append(&mut backups);
        }
    }
    if let Some(only) = part.group {
        groups.retain(|group, _| *group == only);
    }
    Ok(groups)
}

fn group(row: &Row<'_>, partial: bool, safety: bool) -> Outcome<Group> {
    Ok(Group {
        database_id: row::parsed(row, "database_id")?,
        schedule_id: row::parsed_if_set(row, "schedule_id")?,
        store_id: row::parsed(row, "store_id")?,
        partial,
        safety,
    })
}

/// A row of [`history`]. There may be a great many: columns are read by their place, and as they lie there.
fn read(row: &Row<'_>, held: &HashMap<BackupId, String>) -> Outcome<(Facts, Entry)> {
    let id: BackupId = row::text(row, 0)?.parse()?;
    let verify_state = row::text(row, 2)?.parse()?;
    let facts = Facts { id, kind: row::text(row, 1)?.parse()?, verify_state };
    let entry = Entry {
        id: id.to_string(),
        completed_at: row.get::<_, Option<i64>>(3)?.map(Moment),
        status: if verify_state == VerifyState::Corrupt { EntryStatus::Corrupt } else { EntryStatus::Completed },
        size_bytes: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
        pinned: row.get(4)?,
        in_use: false,
        held: held.get(&id).cloned(),
    };
    Ok((facts, entry))
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
