//! A retention run: plan, then for each backup that goes: claim, files, row, audit trail.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{judgement, plans};
use crate::{
    db::{self, retention::Claim},
    domain::{
        backup::{Backup, BackupStatus},
        events::{Event, Progress},
        ids::OrganizationId,
        job::Job,
        permissions::Actor,
        retention::{Action, GroupPlan, PlannedBackup},
        run::Run,
    },
    error::{Error, Kind, Result},
    services::{Ctx, audit, backup::remove, copies, stores},
};

/// Lines of each kind that the job's report holds at most; the log has them all.
const REPORTED: usize = 1000;

/// What a run did, for the job's report.
#[derive(Default)]
struct Done {
    deleted: Vec<Value>,
    spared: Vec<Value>,
    failed: Vec<Value>,
    kept: usize,
    bytes: u64,
    /// Why it is worth trying again.
    refused: Option<Error>,
}

/// Deletes what the policies no longer keep. A store that refuses fails the job at its end, to be tried again; it keeps nothing
/// else from being deleted.
pub(in crate::services) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let mut done = Done::default();
    let worked = work(ctx, organization, job, run, &mut done).await;
    db::jobs::set_report(&ctx.db, job.id, &report(&done)).await?;
    worked?;
    run.info(format!("{} kept, {} deleted, {} bytes freed", done.kept, done.deleted.len(), done.bytes));
    match done.refused {
        None => Ok(()),
        Some(error) => {
            Err(error.while_doing(format!("{} of {} deletions failed", done.failed.len(), done.failed.len() + done.deleted.len())))
        }
    }
}

async fn work(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run, done: &mut Done) -> Result<()> {
    resume(ctx, organization, run, done).await?;
    let plans = plans(ctx, organization, job.database_id, &judgement(ctx)).await?;
    done.kept = plans.iter().map(|plan| plan.kept).sum();
    let total: usize = plans.iter().map(|plan| plan.deleted).sum();
    let mut seen = 0;
    for plan in &plans {
        for planned in plan.backups.iter().filter(|planned| planned.action == Action::Delete) {
            run.check()?;
            seen += 1;
            run.progress(&Progress { stage: format!("deleting backup {seen} of {total}"), ..Progress::default() });
            delete(ctx, organization, plan, planned, run, done).await?;
        }
    }
    Ok(())
}

/// Finishes what an earlier run or a person began to delete.
async fn resume(ctx: &Ctx, organization: OrganizationId, run: &Run, done: &mut Done) -> Result<()> {
    for (owner, id, store) in db::backup_copies::going(&ctx.db).await? {
        if owner != organization {
            continue;
        }
        run.check()?;
        let backup = match db::backups::get(&ctx.db, organization, id).await {
            Ok(backup) => backup,
            Err(error) if error.kind == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let removed = remove::copy(ctx, organization, &backup, store).await;
        note_resumed(&backup, removed, run, done);
    }
    for (owner, backup) in db::backups::going(&ctx.db).await? {
        if owner != organization {
            continue;
        }
        run.check()?;
        let removed = remove::whole(ctx, organization, &backup).await;
        note_resumed(&backup, removed, run, done);
    }
    Ok(())
}

fn note_resumed(backup: &Backup, removed: Result<()>, run: &Run, done: &mut Done) {
    let reasons = vec!["its deletion had begun before".to_owned()];
    let line = line(backup, &reasons, None);
    match removed {
        Ok(()) => {
            run.info(format!("deleted {} of '{}': its deletion had begun before", backup.id, backup.database_name));
            done.deleted.push(line);
        }
        Err(error) => refuse(backup, line, error, run, done),
    }
}

/// Deletes one backup from one store, if that is still right.
async fn delete(
    ctx: &Ctx,
    organization: OrganizationId,
    plan: &GroupPlan,
    planned: &PlannedBackup,
    run: &Run,
    done: &mut Done,
) -> Result<()> {
    let backup = match db::backups::get(&ctx.db, organization, planned.id).await {
        Ok(backup) => backup,
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Err(error) = present(ctx, organization, plan, &backup).await {
        refuse(&backup, line(&backup, &planned.reasons, Some(plan)), error, run, done);
        return Ok(());
    }
    let claimed = db::retention::claim(&ctx.db, organization, plan.group, planned.id, &judgement(ctx)).await?;
    let (reasons, size_bytes) = match claimed {
        Claim::Delete { reasons, size_bytes } => (reasons, size_bytes),
        Claim::Keep { reasons } => {
            run.info(format!("kept {} after all: {}", planned.id, reasons.join(", ")));
            done.spared.push(json!({ "backupId": planned.id, "reasons": reasons }));
            return Ok(());
        }
    };
    // As it is since the claim: its own store may be another one now.
    let backup = match db::backups::get(&ctx.db, organization, planned.id).await {
        Ok(backup) => backup,
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let line = line(&backup, &reasons, Some(plan));
    // Written first: nothing goes without a trace, even if the process ends right after.
    let actor = Actor { organization_id: organization, ..Actor::system() };
    audit::record(ctx, &actor, "retention.delete", backup.id, line.clone()).await?;
    let removed = if backup.status == BackupStatus::Deleting {
        ctx.tell(Event::Backup { backup_id: backup.id, status: BackupStatus::Deleting });
        remove::whole(ctx, organization, &backup).await
    } else {
        remove::copy(ctx, organization, &backup, plan.group.store_id).await
    };
    if let Err(error) = removed {
        audit::record(ctx, &actor, "retention.delete.failed", backup.id, json!({ "error": error.to_string() })).await?;
        refuse(&backup, line, error, run, done);
        return Ok(());
    }
    run.info(format!("deleted {} of '{}' from '{}': {}", backup.id, backup.database_name, plan.store_name, reasons.join(", ")));
    done.bytes += size_bytes;
    done.deleted.push(line);
    Ok(())
}

/// Errors when nothing of the backup is in the store: then it is more likely that the wrong folder is mounted than that the
/// store lost all of it, and a row that is deleted would leave the files behind. Errors too when it is to live on in other stores,
/// and none of them has it.
async fn present(ctx: &Ctx, organization: OrganizationId, plan: &GroupPlan, backup: &Backup) -> Result<()> {
    let store = stores::open(ctx, organization, plan.group.store_id).await?;
    if copies::is_gone(store.as_ref(), backup).await? {
        return Err(Error::new(Kind::Storage, format!("nothing of it is in the store '{}' any more", plan.store_name))
            .hint("is the volume mounted? If the store has lost it, delete the backup by hand"));
    }
    copies::lives_on(ctx, organization, backup, plan.group.store_id).await
}

fn refuse(backup: &Backup, mut line: Value, error: Error, run: &Run, done: &mut Done) {
    run.error(format!("{} of '{}' could not be deleted, it is tried again: {error}", backup.id, backup.database_name));
    line["error"] = Value::String(error.to_string());
    done.failed.push(line);
    done.refused.get_or_insert(error.retryable());
}

fn line(backup: &Backup, reasons: &[String], plan: Option<&GroupPlan>) -> Value {
    json!({
        "backupId": backup.id,
        "database": backup.database_name,
        "completedAt": backup.finished_at,
        "sizeBytes": backup.stored_size(),
        "reasons": reasons,
        "store": plan.map(|plan| &plan.store_name),
        "schedule": plan.and_then(|plan| plan.schedule_name.as_ref()),
        "policy": plan.and_then(|plan| plan.policy_name.as_ref()),
    })
}

fn report(done: &Done) -> Value {
    let first = |lines: &[Value]| lines.iter().take(REPORTED).cloned().collect::<Vec<_>>();
    let mut words = vec![format!("{} kept, {} deleted, {} bytes freed.", done.kept, done.deleted.len(), done.bytes)];
    if !done.failed.is_empty() {
        words.push(format!("{} could not be deleted and stay listed; they are tried again.", done.failed.len()));
    }
    json!({
        "words": words,
        "kept": done.kept,
        "deletedCount": done.deleted.len(),
        "deletedBytes": done.bytes,
        "deleted": first(&done.deleted),
        "spared": first(&done.spared),
        "failed": first(&done.failed),
    })
}
