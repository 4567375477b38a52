//! Figures of the catalogue for monitoring systems.

use deadpool_sqlite::rusqlite::{Connection, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::{BackupId, OrganizationId},
        time::Moment,
    },
    error::Result,
};

/// Everything of one organization, as it is now.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Backups that ended, ever, by database and status.
    pub backups: Vec<Counted>,
    pub databases: Vec<LastGood>,
    /// The slot that is due next, by the name of the schedule.
    pub next_runs: Vec<(String, Moment)>,
    /// Deliveries in the log, by notifier and status.
    pub deliveries: Vec<Counted>,
    pub dead_letters: u64,
}

/// How many, of what, in which state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub name: String,
    pub status: String,
    pub number: u64,
}

/// The newest good backup of a database.
#[derive(Debug, Clone)]
pub struct LastGood {
    pub database: String,
    /// When the database was added.
    pub added_at: Moment,
    /// `None` when there never was a good backup.
    pub backup: Option<Good>,
}

#[derive(Debug, Clone)]
pub struct Good {
    /// When it was made.
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    /// Bytes in its store.
    pub stored_size: u64,
}

/// Counts a backup that has just ended, in the transaction that ends it.
pub(super) fn count_backup(db: &Connection, id: BackupId) -> Outcome<()> {
    db.execute(
        "INSERT INTO backup_totals (organization_id, database_id, database_name, status, backups)
         SELECT organization_id, COALESCE(database_id, ''), database_name, status, 1 FROM backups WHERE id = ?1
         ON CONFLICT (organization_id, database_id, database_name, status) DO UPDATE SET backups = backup_totals.backups + 1",
        params![id.to_string()],
    )?;
    Ok(())
}

pub async fn figures(db: &Db, organization: OrganizationId) -> Result<Figures> {
    db.read("reading the figures", move |db| {
        Ok(Figures {
            backups: backups(db, organization)?,
            databases: databases(db, organization)?,
            next_runs: next_runs(db, organization)?,
            deliveries: deliveries(db, organization)?,
            dead_letters: dead_letters(db, organization)?,
        })
    })
    .await
}

/// A database that was renamed counts on under its new name.
fn backups(db: &Connection, organization: OrganizationId) -> Outcome<Vec<Counted>> {
    let sql = "SELECT COALESCE(d.name, t.database_name) AS name, t.status AS status, SUM(t.backups) AS number
               FROM backup_totals t LEFT JOIN databases d ON d.id = t.database_id
               WHERE t.organization_id = ?1 GROUP BY COALESCE(d.name, t.database_name), t.status ORDER BY 1, 2";
    query::all(db, sql, &[text(organization)], counted)
}

fn databases(db: &Connection, organization: OrganizationId) -> Outcome<Vec<LastGood>> {
    let sql = "WITH newest AS (
                   SELECT d.name, d.created_at, (
                       SELECT b.id FROM backups b
                       WHERE b.database_id = d.id AND b.status = 'completed' AND b.verify_state <> 'corrupt' AND NOT b.partial
                       ORDER BY b.created_at DESC, b.id DESC LIMIT 1) AS backup_id
                   FROM databases d JOIN projects p ON p.id = d.project_id WHERE p.organization_id = ?1)
               SELECT n.name, n.created_at AS added_at, b.created_at, b.started_at, b.finished_at,
                   (SELECT COALESCE(SUM(a.stored_size), 0) FROM artifacts a WHERE a.backup_id = b.id) AS stored_size
               FROM newest n LEFT JOIN backups b ON b.id = n.backup_id ORDER BY n.name";
    query::all(db, sql, &[text(organization)], |row| {
        let good = |created_at| {
            Ok::<_, super::fault::Fault>(Good {
                created_at,
                started_at: row::moment_if_set(row, "started_at")?,
                finished_at: row::moment_if_set(row, "finished_at")?,
                stored_size: row::count(row, "stored_size")?,
            })
        };
        Ok(LastGood {
            database: row::plain(row, "name")?,
            added_at: row::moment(row, "added_at")?,
            backup: row::moment_if_set(row, "created_at")?.map(good).transpose()?,
        })
    })
}

fn next_runs(db: &Connection, organization: OrganizationId) -> Outcome<Vec<(String, Moment)>> {
    let sql = "SELECT name, next_run_at FROM schedules WHERE organization_id = ?1 AND enabled AND next_run_at IS NOT NULL ORDER BY name";
    query::all(db, sql, &[text(organization)], |row| Ok((row::plain(row, "name")?, row::moment(row, "next_run_at")?)))
}

fn deliveries(db: &Connection, organization: OrganizationId) -> Outcome<Vec<Counted>> {
    // A failure that nobody has had yet is a zero, so that the first one is a change.
    let sql = "SELECT name, status, SUM(number) AS number FROM (
                   SELECT n.name AS name, d.status AS status, COUNT(*) AS number FROM deliveries d JOIN notifiers n ON n.id = d.notifier_id
                   WHERE n.organization_id = ?1 GROUP BY n.name, d.status
                   UNION ALL SELECT name, 'delivered', 0 FROM notifiers WHERE organization_id = ?1
                   UNION ALL SELECT name, 'failed', 0 FROM notifiers WHERE organization_id = ?1) AS told
               GROUP BY name, status ORDER BY 1, 2";
    query::all(db, sql, &[text(organization)], counted)
}

fn dead_letters(db: &Connection, organization: OrganizationId) -> Outcome<u64> {
    let sql = "SELECT COUNT(*) AS number FROM jobs WHERE organization_id = ?1 AND dead = TRUE";
    Ok(query::first(db, sql, &[text(organization)], |row| row::count(row, "number"))?.unwrap_or_default())
}

fn counted(row: &deadpool_sqlite::rusqlite::Row<'_>) -> Outcome<Counted> {
    Ok(Counted { name: row::plain(row, "name")?, status: row::plain(row, "status")?, number: row::count(row, "number")? })
}
