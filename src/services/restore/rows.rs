//! Restores from a snapshot: schema, then rows table by table in the order of foreign keys, then what depends on rows.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    domain::{
        artifact::TableCount,
        database::Settings,
        events::Progress,
        fields::validate,
        restore::{Applied, RestoreContent, RestoreMode, RestorePlan},
        run::Run,
    },
    engines::{ApplyOptions, Engine, KeyRange, RestoreOutcome, RowTarget, insert_order},
    error::{Error, Kind, Result},
    services::{
        snapshots::{blocking, count},
        verify::differences,
    },
    snapshot::{ChangeKind, Layout, ObjectKind, RowChange, RowCursor, Schema, Snapshot, Table, TableName, rows},
};

/// Rows that are handed on together.
const BATCH: usize = 500;
/// Batches that may wait.
const DEPTH: usize = 4;

/// Restores a snapshot into the database in `settings`, which already name the plan's target.
///
/// Errors before anything is changed when a wanted table is a sample, and in mode `new` when the target has tables. On a
/// later error nothing of it stays where the engine has transactions.
pub async fn restore(
    engine: &dyn Engine,
    settings: &Settings,
    plan: &RestorePlan,
    snapshot: Arc<Snapshot>,
    run: &Run,
) -> Result<RestoreOutcome> {
    check_rows_plan(plan)?;
    if snapshot.facts().engine != engine.info().id {
        return Err(Error::validation(format!("a {} snapshot cannot be restored into {}", snapshot.facts().engine, engine.info().label)));
    }
    let wanted = choose(&snapshot, plan)?;
    check_whole(&snapshot, &wanted)?;
    run.check()?;
    run.progress(&Progress { stage: "connecting".into(), ..Progress::default() });
    let mut target = engine.open_target(settings, run).await?;
    if plan.mode == RestoreMode::New
        && let Some(table) = target.schema().tables.first()
    {
        return Err(Error::conflict(format!("{} is there already and has the table {}", engine.address(settings), table.name))
            .hint("choose another name, or the mode append"));
    }
    let mut outcome = RestoreOutcome::default();
    let applied = fill(target.as_mut(), plan, &snapshot, &wanted, &mut outcome, run).await?;
    run.progress(&Progress { stage: if plan.dry_run { "taking it back" } else { "committing" }.into(), ..Progress::default() });
    target.commit(run).await?;
    if plan.dry_run {
        outcome.warnings.push("this was a dry run: nothing was changed".into());
    }
    outcome.tables = applied.iter().map(|(name, applied)| count(name, present(applied))).collect();
    if plan.mode == RestoreMode::New && plan.content != RestoreContent::Schema && !plan.dry_run {
        outcome.tables = count_all(engine, settings, &wanted, run).await?;
        let expected: Vec<_> =
            wanted.tables.iter().filter_map(|table| Some(count(&table.name, snapshot.entry(&table.name)?.rows))).collect();
        if let Some(problem) = differences(&expected, &outcome.tables) {
            return Err(Error::new(Kind::Restore, format!("the restored rows are not those of the snapshot: {problem}"))
                .hint(format!("do not use {}; restore again", engine.address(settings))));
        }
    }
    Ok(outcome)
}

/// Errors with every part of a plan that a snapshot cannot do.
pub fn check_rows_plan(plan: &RestorePlan) -> Result<()> {
    if !matches!(plan.mode, RestoreMode::New | RestoreMode::Append) {
        return Err(Error::validation(format!("the mode {} is not possible from a snapshot", plan.mode))
            .hint("restore into a new database, or append to an existing one with onConflict stop, skip or overwrite")
            .fields(vec![("mode".into(), "new or append".into())]));
    }
    Ok(())
}

/// Rows that are in the table as the snapshot has them.
fn present(applied: &Applied) -> u64 {
    applied.inserted + applied.updated + applied.unchanged
}

/// The chosen tables with what belongs to them; everything when none was chosen.
fn choose(snapshot: &Snapshot, plan: &RestorePlan) -> Result<Schema> {
    let schema = snapshot.schema();
    if plan.tables.is_empty() {
        return Ok(schema.clone());
    }
    let mut chosen = BTreeSet::new();
    for name in &plan.tables {
        chosen.insert(crate::services::snapshots::browse::find(snapshot, name)?.name.clone());
    }
    let objects = schema.objects.iter().filter(|object| match (&object.table, object.kind) {
        // A policy or a trigger may call what was not chosen, a foreign key leads to it: rows are what is wanted.
        (_, ObjectKind::Trigger | ObjectKind::Policy) => false,
        (Some(table), ObjectKind::ForeignKey) => {
            chosen.contains(table) && object.references.as_ref().is_none_or(|other| chosen.contains(other))
        }
        (Some(table), _) => chosen.contains(table),
        (None, kind) => matches!(kind, ObjectKind::Namespace | ObjectKind::Extension | ObjectKind::Type | ObjectKind::Sequence),
    });
    Ok(Schema {
        tables: schema.tables.iter().filter(|table| chosen.contains(&table.name)).cloned().collect(),
        objects: objects.cloned().collect(),
    })
}

/// Errors when the plan's tables are not all whole in the snapshot.
pub fn check_samples(snapshot: &Snapshot, plan: &RestorePlan) -> Result<()> {
    check_whole(snapshot, &choose(snapshot, plan)?)
}

/// Errors unless the snapshot has every row of every wanted table.
fn check_whole(snapshot: &Snapshot, wanted: &Schema) -> Result<()> {
    let sampled: Vec<_> = wanted
        .tables
        .iter()
        .filter(|table| snapshot.entry(&table.name).is_some_and(|entry| entry.sample.is_some()))
        .map(|table| table.name.to_string())
        .collect();
    if sampled.is_empty() {
        return Ok(());
    }
    Err(Error::validation(format!("the snapshot has only a sample of the rows of {}: it cannot be restored", sampled.join(", ")))
        .hint("restore the dump of the backup (source dump), or choose tables that are whole"))
}

async fn fill(
    target: &mut dyn RowTarget,
    plan: &RestorePlan,
    snapshot: &Arc<Snapshot>,
    wanted: &Schema,
    outcome: &mut RestoreOutcome,
    run: &Run,
) -> Result<Vec<(TableName, Applied)>> {
    let with_schema = plan.content != RestoreContent::Data;
    if with_schema {
        run.progress(&Progress { stage: "making the tables".into(), ..Progress::default() });
        outcome.warnings.extend(target.create(wanted, false, run).await?);
    }
    let mut applied = Vec::new();
    if plan.content != RestoreContent::Schema {
        let order = insert_order(wanted);
        for (at, name) in order.iter().enumerate() {
            let progress = Progress {
                stage: "restoring rows".into(),
                tables: Some(at as u64),
                total_tables: Some(order.len() as u64),
                table: Some(name.to_string()),
                ..Progress::default()
            };
            run.progress(&progress);
            let done =
                write_table(target, plan, snapshot, name, run).await.map_err(|error| error.while_doing(format!("restoring {name}")))?;
            run.info(format!(
                "{name}: {} inserted, {} updated, {} as they were, {} left alone",
                done.inserted, done.updated, done.unchanged, done.skipped
            ));
            for conflict in &done.conflicts {
                outcome.warnings.push(format!("{name}: {conflict}"));
            }
            applied.push((name.clone(), done));
        }
    }
    if with_schema {
        run.progress(&Progress { stage: "making indexes and constraints".into(), ..Progress::default() });
        outcome.warnings.extend(target.create(wanted, true, run).await?);
    }
    Ok(applied)
}

/// Writes every row of a table as one that is added.
async fn write_table(
    target: &mut dyn RowTarget,
    plan: &RestorePlan,
    snapshot: &Arc<Snapshot>,
    name: &TableName,
    run: &Run,
) -> Result<Applied> {
    let table = snapshot.table(name).ok_or_else(|| Error::internal(format!("{name} has no columns")))?.clone();
    if snapshot.entry(name).is_none() {
        return Err(Error::new(Kind::Restore, format!("the snapshot has no rows of {name}")));
    }
    let (changes, arriving) = mpsc::channel(DEPTH);
    let options = ApplyOptions { on_conflict: plan.on_conflict, dry_run: plan.dry_run };
    let (reader, read, cancelled) = (snapshot.clone(), table.clone(), run.clone());
    let reading = blocking("reading the snapshot", move || send_rows(&reader, &read, &changes, &cancelled));
    let (sent, applied) = tokio::join!(reading, target.apply(&table, arriving, options, run));
    match (sent, applied) {
        // The one who takes the rows has failed, and says why.
        (Ok(false), Err(error)) | (Ok(true), Err(error)) => Err(error),
        (Err(error), _) => Err(error),
        (Ok(true), Ok(applied)) => Ok(applied),
        (Ok(false), Ok(_)) => Err(Error::internal(format!("not every row of {name} was taken"))),
    }
}

/// False when nobody takes the rows any more.
fn send_rows(snapshot: &Snapshot, table: &Table, changes: &mpsc::Sender<Vec<RowChange>>, run: &Run) -> Result<bool> {
    let layout = Layout::of(table)?;
    let mut cursor = snapshot.cursor(&table.name, None, None)?;
    let mut batch = Vec::with_capacity(BATCH);
    let mut bytes = 0;
    loop {
        let row = cursor.peek()?;
        let over = row.is_none();
        if let Some(row) = row {
            bytes += row.key.len() + row.value.len();
            batch.push(RowChange { kind: ChangeKind::Added, before: None, after: Some(layout.decode(row)?) });
        }
        // Few large rows weigh as much as many small ones.
        if over || batch.len() == BATCH || bytes > 1 << 20 {
            run.check()?;
            bytes = 0;
            if !batch.is_empty() && changes.blocking_send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_err() {
                return Ok(false);
            }
        }
        if over {
            return Ok(true);
        }
        cursor.advance()?;
    }
}

/// Counts the rows of the restored tables by reading them.
async fn count_all(engine: &dyn Engine, settings: &Settings, wanted: &Schema, run: &Run) -> Result<Vec<TableCount>> {
    run.progress(&Progress { stage: "counting".into(), ..Progress::default() });
    let options = validate(engine.info().dump_options, &Settings::new())?;
    let mut source = engine.open_source(settings, &options, run).await?;
    let mut counts = Vec::new();
    for table in source.schema().tables.clone() {
        if !wanted.tables.iter().any(|other| other.name == table.name) {
            continue;
        }
        let (sender, mut receiver) = rows(&table)?;
        let counting = async {
            let mut rows = 0;
            while let Some(batch) = receiver.recv().await {
                rows += batch.rows();
            }
            rows
        };
        let range = KeyRange::all();
        let (read, rows) = tokio::join!(source.rows(&table, &range, sender, run), counting);
        read?;
        counts.push(count(&table.name, rows));
    }
    Ok(counts)
}
