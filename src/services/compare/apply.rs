//! Chosen rows of a comparison, written into a database: asked for, and carried out by the restore's job.

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    patch::{changed_tables, sides},
    phases::{self, phases},
    project::{Projection, turned},
    reports,
};
use crate::{
    db,
    diff::Report,
    domain::{
        artifact::TableCount,
        database::{Database, Settings},
        diff::{ChangeFilter, Diff, DiffStatus},
        events::Progress,
        ids::{DatabaseId, DiffId, OrganizationId, RestoreId},
        job::{Job, JobKind},
        permissions::{Actor, Permission},
        restore::{Applied, Direction, OnConflict, Restore, RestoreMode, RestorePlan, RestoreStatus, RowPlan},
        run::Run,
        time::Moment,
    },
    engines::{self, ApplyOptions, Engine, RowTarget, insert_order},
    error::{Context, Error, Kind, Result},
    services::{Ctx, audit, backup, databases, jobs, restore, secrets},
    snapshot::{ChangeKind, RowChange, Schema, Table},
};

/// Changes that can be chosen one by one.
const MOST_CHOSEN: usize = 10_000;

/// Changes that are handed on at a time.
const BATCH: usize = 500;

/// Conflicts that are told.
const MOST_TOLD: usize = 100;

/// Asks for rows of a comparison to be written into a configured database, guarded by their old values.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowRestoreRequest {
    /// One table of the comparison; all of them when it is left out.
    #[serde(default)]
    pub table: Option<String>,
    /// Chosen changes of the table, by their place in it; empty means all that the filter takes.
    #[serde(default)]
    pub at: Vec<u64>,
    #[serde(default)]
    pub filter: Option<ChangeFilter>,
    /// `revert` brings back what was before; `apply` makes what is after.
    pub direction: Direction,
    /// Whose connection is used.
    pub database_id: DatabaseId,
    /// Another database of that server; `None` means the connection's own.
    #[serde(default)]
    pub target_name: Option<String>,
    #[serde(default = "stop")]
    pub on_conflict: OnConflict,
    /// Nothing is written: what would be is told. Needs no confirmation.
    #[serde(default)]
    pub dry_run: bool,
    /// Take a backup of the target first; the restore stops when that fails.
    #[serde(default)]
    pub safety_backup: bool,
    /// The target's name, typed by the person who asks: nothing is overwritten by a slip.
    #[serde(default)]
    pub confirm: String,
}

fn stop() -> OnConflict {
    OnConflict::Stop
}

/// Queues the restore. Errors unless `confirm` names the target, and when nothing is chosen.
pub async fn restore_rows(ctx: &Arc<Ctx>, actor: &Actor, id: DiffId, request: RowRestoreRequest) -> Result<Restore> {
    actor.require(Permission::Restore)?;
    let diff = db::diffs::get(&ctx.db, actor.organization_id, id).await?;
    let (plan, chosen) = check(&diff, request.clone())?;
    let database = db::databases::get(&ctx.db, actor.organization_id, request.database_id).await?;
    if database.engine != diff.engine {
        return Err(Error::validation(format!(
            "rows of a {} database cannot be written into the {} database '{}'",
            diff.engine, database.engine, database.name
        )));
    }
    let engine = engines::find(&database.engine)?;
    let settings = restore::target_settings(engine, databases::open_settings(ctx, &database)?, &plan);
    databases::refuse_own_files(ctx, engine, &settings)?;
    let expected = restore::label(engine, &settings);
    if !request.dry_run && request.confirm.trim() != expected {
        return Err(Error::validation(format!("the restore is not confirmed: it would write into '{expected}'"))
            .hint(format!("type {expected} to confirm"))
            .fields(vec![("confirm".into(), format!("must be {expected}"))]));
    }
    let (public, _) = secrets::public(engine.info().connection, settings);
    let row = Restore {
        source_label: format!("{chosen} of {}, {} against {}", diff.database_name, diff.before_label, diff.after_label),
        database_id: Some(database.id),
        target_label: engine.address(&public),
        engine: database.engine.clone(),
        plan,
        ..empty_restore()
    };
    let job = Job {
        database_id: Some(database.id),
        restore_id: Some(row.id),
        diff_id: Some(id),
        exclusive_key: Some(databases::exclusive_key(&row.target_label)),
        ..jobs::new(JobKind::Restore, ctx)
    };
    let row = Restore { job_id: Some(job.id), ..row };
    db::restores::insert(&ctx.db, actor.organization_id, &row).await?;
    jobs::enqueue(ctx, actor, job).await?;
    let details = json!({ "diff": id, "source": row.source_label, "target": row.target_label, "dryRun": request.dry_run });
    audit::record(ctx, actor, "restore.rows", row.id, details).await?;
    Ok(row)
}

fn empty_restore() -> Restore {
    Restore {
        id: RestoreId::new(),
        backup_id: None,
        upload_id: None,
        source_label: String::new(),
        database_id: None,
        target_label: String::new(),
        engine: String::new(),
        plan: RestorePlan::default(),
        status: RestoreStatus::Queued,
        job_id: None,
        safety_backup_id: None,
        created_at: Moment::now(),
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
        tables: Vec::new(),
        applied: None,
    }
}

/// The plan of a restore of rows, and in words what was chosen.
fn check(diff: &Diff, request: RowRestoreRequest) -> Result<(RestorePlan, String)> {
    if diff.status != DiffStatus::Completed {
        return Err(Error::conflict(format!("the comparison is {}: only rows of a completed one can be restored", diff.status)));
    }
    if request.at.len() > MOST_CHOSEN {
        return Err(Error::validation(format!("{} changes were chosen one by one, {MOST_CHOSEN} can be", request.at.len()))
            .hint("choose them by a filter instead"));
    }
    let table = request.table.or_else(|| request.filter.as_ref().and_then(|filter| filter.table.clone()));
    if table.is_none() && !request.at.is_empty() {
        return Err(Error::validation("changes are chosen by their place, but no table is named")
            .fields(vec![("table".into(), "is required".into())]));
    }
    let filter = ChangeFilter { table: table.clone(), ..request.filter.clone().unwrap_or_default() };
    let summary = diff.summary.as_ref().ok_or_else(|| Error::internal("a completed comparison without a summary"))?;
    let tables = changed_tables(summary, &filter)?;
    if tables.is_empty() {
        return Err(Error::validation("there is nothing to restore: no row differs"));
    }
    let chosen = match (&table, request.at.len()) {
        (None, _) => format!("changed rows of {} tables", tables.len()),
        (Some(table), 0) => format!("changed rows of {table}"),
        (Some(table), 1) => format!("1 row of {table}"),
        (Some(table), many) => format!("{many} rows of {table}"),
    };
    let rows = RowPlan {
        diff_id: diff.id,
        at: request.at,
        filter: request.filter,
        direction: request.direction,
        on_conflict: request.on_conflict,
        dry_run: request.dry_run,
        table: table.clone(),
    };
    let plan = RestorePlan {
        mode: RestoreMode::Append,
        tables: table.into_iter().collect(),
        target_name: request.target_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        safety_backup: request.safety_backup,
        on_conflict: request.on_conflict,
        dry_run: request.dry_run,
        rows: Some(rows),
        ..RestorePlan::default()
    };
    Ok((plan, chosen))
}

/// The work of the restore's job. On `Ok` its row is completed.
pub(in crate::services) async fn execute(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    mut restore: Restore,
    run: &Run,
) -> Result<()> {
    let plan = restore.plan.rows.clone().ok_or_else(|| Error::internal("a restore of rows without a plan"))?;
    let diff = db::diffs::get(&ctx.db, organization, plan.diff_id).await?;
    let database_id = restore.database_id.ok_or_else(|| Error::conflict("the target database was removed from the configuration"))?;
    let database = db::databases::get(&ctx.db, organization, database_id).await?;
    let engine = engines::find(&database.engine)?;
    let settings = restore::target_settings(engine, databases::open_settings(ctx, &database)?, &restore.plan);
    // Links may lead elsewhere since the restore was asked for.
    databases::refuse_own_files(ctx, engine, &settings)?;
    run.info(format!("{} {} into {}", plan.direction, restore.source_label, restore.target_label));
    let report = reports::read(ctx, &diff, |report| Ok(report.clone())).await?;
    safety(ctx, organization, job, &database, &settings, &mut restore, run).await?;
    let written = carry_out(engine, &settings, &diff, &report, &plan, run).await;
    databases::keep_learned(ctx, organization, database.id, &settings, run).await;
    let written = written?;
    let applied = &written.applied;
    run.info(format!(
        "{}{} inserted, {} updated, {} deleted, {} as wanted already, {} left alone",
        if plan.dry_run { "nothing was written; it would be: " } else { "" },
        applied.inserted,
        applied.updated,
        applied.deleted,
        applied.unchanged,
        applied.skipped
    ));
    for warning in written.warnings.iter().chain(&applied.conflicts) {
        run.warn(warning);
    }
    restore.status = RestoreStatus::Completed;
    restore.finished_at = Some(Moment::now());
    restore.tables = written.tables;
    restore.warnings = written.warnings;
    restore.applied = Some(written.applied);
    db::restores::finish(&ctx.db, &restore).await?;
    Ok(())
}

async fn safety(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    database: &Database,
    settings: &Settings,
    restore: &mut Restore,
    run: &Run,
) -> Result<()> {
    if !restore.plan.safety_backup || restore.plan.dry_run {
        return Ok(());
    }
    run.info("taking a safety backup of the target first");
    let safety = backup::execute::safety(ctx, organization, database, settings, job, run).await.map_err(|error| {
        if error.is_cancelled() {
            return error;
        }
        Error::new(Kind::Restore, format!("the safety backup failed, so nothing was restored: {error}"))
            .hint("repair the cause, or restore without a safety backup if the target may be lost")
    })?;
    db::restores::set_safety_backup(&ctx.db, restore.id, safety).await?;
    restore.safety_backup_id = Some(safety);
    run.info(format!("to get back to how it was, restore backup {safety}"));
    Ok(())
}

#[derive(Default)]
struct Written {
    applied: Applied,
    warnings: Vec<String>,
    /// Rows written, by table.
    tables: Vec<TableCount>,
}

/// One table's changes on their way.
struct Writing<'a> {
    name: &'a str,
    old: Option<Table>,
    wanted: Option<Table>,
    target: Table,
}

async fn carry_out(engine: &dyn Engine, settings: &Settings, diff: &Diff, report: &Report, plan: &RowPlan, run: &Run) -> Result<Written> {
    let filter = ChangeFilter { table: plan.table.clone(), ..plan.filter.clone().unwrap_or_default() };
    let summary = diff.summary.clone().unwrap_or_default();
    let mut target = engine.open_target(settings, run).await?;
    let schema = target.schema().clone();
    let mut tables = Vec::new();
    for name in changed_tables(&summary, &filter)? {
        let (before, after) = report.tables(name)?;
        let (old, wanted) = sides(before, after, plan.direction);
        let found = find(&schema, old.as_ref(), wanted.as_ref())?;
        tables.push(Writing { name, target: found.clone(), old, wanted });
    }
    let order = insert_order(&schema);
    tables.sort_by_key(|table| order.iter().position(|name| *name == table.target.name));
    let pointed_to = phases::referenced(&schema);
    let mut written = Written::default();
    for phase in phases(engine, tables.len(), |table| pointed_to.contains(&tables[table].target.name)) {
        let table = &tables[phase.table];
        let progress = Progress {
            stage: if plan.dry_run { "trying".into() } else { "writing".into() },
            rows: Some(written.applied.inserted + written.applied.updated + written.applied.deleted),
            table: Some(table.name.to_owned()),
            ..Progress::default()
        };
        run.progress(&progress);
        one_phase(target.as_mut(), table, phase.kind, report, plan, &filter, &mut written, run).await?;
    }
    run.progress(&Progress { stage: "committing".into(), ..Progress::default() });
    target.commit(run).await?;
    Ok(written)
}

/// The target's own table for rows of these. Errors when it has none.
fn find<'a>(schema: &'a Schema, old: Option<&Table>, wanted: Option<&Table>) -> Result<&'a Table> {
    let named = |table: &Table| schema.tables.iter().find(|other| other.name == table.name);
    let found = old.and_then(named).or_else(|| wanted.and_then(named));
    found.ok_or_else(|| {
        let name = wanted.or(old).map(|table| table.name.to_string()).unwrap_or_default();
        Error::conflict(format!("the target has no table {name}")).hint("restore the table as a whole first")
    })
}

#[allow(clippy::too_many_arguments)]
async fn one_phase(
    target: &mut dyn RowTarget,
    table: &Writing<'_>,
    kind: ChangeKind,
    report: &Report,
    plan: &RowPlan,
    filter: &ChangeFilter,
    written: &mut Written,
    run: &Run,
) -> Result<()> {
    let mut changes = chosen(report, table.name, kind, plan, filter)?.peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let projection = Projection::of(kind, table.old.as_ref(), table.wanted.as_ref(), &table.target)?;
    if !projection.left_out.is_empty() {
        let note = format!("{}: the target has no column {}", table.name, projection.left_out.join(", "));
        if !written.warnings.contains(&note) {
            written.warnings.push(note);
        }
    }
    let written_table = projection.table.clone();
    let (sender, receiver) = mpsc::channel(4);
    let feeding = tokio::task::spawn_blocking(move || feed(changes, &projection, &sender));
    let options = ApplyOptions { on_conflict: plan.on_conflict, dry_run: plan.dry_run };
    let applied = target.apply(&written_table, receiver, options, run).await;
    let fed = feeding.await.context(Kind::Internal, || "reading the report of the comparison".into())?;
    let applied = applied?;
    fed?;
    add(written, table, applied);
    Ok(())
}

/// The turned changes of one kind that the plan chooses.
fn chosen(
    report: &Report,
    table: &str,
    kind: ChangeKind,
    plan: &RowPlan,
    filter: &ChangeFilter,
) -> Result<impl Iterator<Item = Result<RowChange>> + Send + use<>> {
    let at: HashSet<u64> = plan.at.iter().copied().collect();
    let direction = plan.direction;
    Ok(report.changes(table, filter)?.filter_map(move |change| match change {
        Ok((place, change)) => {
            let change = turned(change, direction);
            (change.kind == kind && (at.is_empty() || at.contains(&place))).then_some(Ok(change))
        }
        Err(error) => Some(Err(error)),
    }))
}

fn feed(changes: impl Iterator<Item = Result<RowChange>>, projection: &Projection, sender: &mpsc::Sender<Vec<RowChange>>) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    for change in changes {
        batch.extend(projection.change(change?));
        // A target that is gone has failed, and says so itself.
        if batch.len() == BATCH && sender.blocking_send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_err() {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        let _ = sender.blocking_send(batch);
    }
    Ok(())
}

fn add(written: &mut Written, table: &Writing<'_>, applied: Applied) {
    let rows = applied.inserted + applied.updated + applied.deleted;
    let all = &mut written.applied;
    all.inserted += applied.inserted;
    all.updated += applied.updated;
    all.deleted += applied.deleted;
    all.unchanged += applied.unchanged;
    all.skipped += applied.skipped;
    let room = MOST_TOLD.saturating_sub(all.conflicts.len());
    all.conflicts.extend(applied.conflicts.into_iter().take(room));
    let name = &table.target.name;
    match written.tables.iter_mut().find(|count| count.schema == name.schema && count.name == name.name) {
        Some(count) => count.rows += rows,
        None => written.tables.push(TableCount { schema: name.schema.clone(), name: name.name.clone(), rows }),
    }
}
