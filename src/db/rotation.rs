//! Old history goes in batches: each is one short transaction, so that whoever writes meanwhile waits for one at most.

use deadpool_sqlite::rusqlite::params;

use super::Db;
use crate::{domain::time::Moment, error::Result};

/// A kind of history that grows without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Lines of job logs. Those of open jobs and of dead letters stay with them.
    LogLines,
    /// The log lines of jobs that are about to go: a job with many would make one long transaction.
    LogLinesOfJobs,
    /// Jobs that are over and whose consequences were seen to.
    Jobs,
    /// What became of slots; the newest of each schedule stays, so that no slot is taken for a new one.
    ScheduleRuns,
    Deliveries,
    Notices,
    /// Backups that did not succeed and left nothing; the newest backup of a database stays.
    FailedBackups,
    /// Restores that are over, and no job of theirs is open.
    Restores,
    AuditEvents,
}

impl Old {
    /// The rows of one batch: `?1` is the time before which they are old, `?2` how many go at once.
    fn rows(self) -> &'static str {
        match self {
            Self::LogLines => {
                "DELETE FROM execution_logs WHERE seq IN (
                     SELECT l.seq FROM execution_logs l WHERE l.at < ?1 AND NOT EXISTS (
                         SELECT 1 FROM jobs j WHERE j.id = l.job_id AND (j.dead = TRUE OR j.status IN ('queued', 'running')))
                     ORDER BY l.at LIMIT ?2)"
            }
            Self::LogLinesOfJobs => {
                "DELETE FROM execution_logs WHERE seq IN (
                     SELECT l.seq FROM jobs j JOIN execution_logs l ON l.job_id = j.id
                     WHERE j.followed_up = TRUE AND j.finished_at < ?1 AND j.status NOT IN ('queued', 'running') LIMIT ?2)"
            }
            Self::Jobs => {
                "DELETE FROM jobs WHERE id IN (
                     SELECT id FROM jobs WHERE followed_up = TRUE AND finished_at < ?1 AND status NOT IN ('queued', 'running')
                     ORDER BY finished_at LIMIT ?2)"
            }
            Self::ScheduleRuns => {
                "DELETE FROM schedule_runs WHERE id IN (
                     SELECT r.id FROM schedule_runs r WHERE r.created_at < ?1 AND r.told = TRUE AND r.status NOT IN ('waiting', 'queued') AND EXISTS (
                         SELECT 1 FROM schedule_runs n WHERE n.schedule_id = r.schedule_id AND n.slot > r.slot)
                     ORDER BY r.created_at LIMIT ?2)"
            }
            Self::Deliveries => {
                "DELETE FROM deliveries WHERE id IN (
                     SELECT id FROM deliveries WHERE created_at < ?1 AND status NOT IN ('queued', 'sending') ORDER BY created_at LIMIT ?2)"
            }
            Self::Notices => {
                "DELETE FROM notices WHERE id IN (
                     SELECT n.id FROM notices n WHERE n.organization_id IN (SELECT id FROM organizations) AND n.created_at < ?1
                         AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.notice_id = n.id) LIMIT ?2)"
            }
            Self::FailedBackups => {
                "DELETE FROM backups WHERE id IN (
                     SELECT b.id FROM backups b WHERE b.status IN ('failed', 'cancelled', 'interrupted') AND b.created_at < ?1
                         AND NOT b.pinned AND b.manifest_key IS NULL
                         AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.backup_id = b.id)
                         AND (b.database_id IS NULL OR EXISTS (
                             SELECT 1 FROM backups n WHERE n.database_id = b.database_id AND n.created_at > b.created_at))
                     LIMIT ?2)"
            }
            Self::Restores => {
                "DELETE FROM restores WHERE id IN (
                     SELECT r.id FROM restores r WHERE r.organization_id IN (SELECT id FROM organizations) AND r.created_at < ?1
                         AND COALESCE(r.finished_at, r.created_at) < ?1 AND r.status NOT IN ('queued', 'running')
                         AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job_id AND j.status IN ('queued', 'running')) LIMIT ?2)"
            }
            Self::AuditEvents => {
                "DELETE FROM audit_events WHERE id IN (
                     SELECT id FROM audit_events WHERE organization_id IN (SELECT id FROM organizations) AND at < ?1 LIMIT ?2)"
            }
        }
    }
}

/// Deletes at most `limit` rows that are older than `before`; fewer mean that no more are left.
pub async fn delete_batch(db: &Db, old: Old, before: Moment, limit: u32) -> Result<u64> {
    db.write("removing old history", move |db| {
        let removed = db.prepare_cached(old.rows())?.execute(params![before.0, limit])?;
        Ok(removed as u64)
    })
    .await
}
