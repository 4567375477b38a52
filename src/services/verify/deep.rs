//! Deep verification: the dump is restored into a scratch database, and every row there is compared with the backup's own
//! snapshot. Both were taken at one moment by different ways, so that nothing but damage can make them differ.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::{
    diff::{ChangeRef, ChangeSink, RowSpec, Tally, compare_rows},
    domain::{
        artifact::TableCount, database::Settings, diff::DiffOptions, events::Progress, fields::validate, ids::BackupId,
        restore::RestorePlan, run::Run,
    },
    engines::{DumpSource, Engine, KeyRange, RestoreRequest, RowSource, SCRATCH},
    error::Result,
    services::snapshots::{blocking, feed, live, text::key_text},
    snapshot::{ChangeKind, Layout, RowRef, Snapshot, Table},
};

/// Differing rows that are told.
const TOLD: usize = 20;

/// What is compared with what.
pub struct Deep<'a> {
    pub backup: BackupId,
    pub engine: &'static dyn Engine,
    /// Connection settings of the server that holds the scratch database for a while; of a file engine they count for nothing.
    pub settings: &'a Settings,
    pub source: &'a dyn DumpSource,
    /// Rows per table as the manifest has them.
    pub expected: &'a [TableCount],
    pub snapshot: Arc<Snapshot>,
}

/// What a deep verification found.
#[derive(Debug, Default)]
pub struct Compared {
    pub tables: u64,
    /// Rows of the snapshot that were compared.
    pub rows: u64,
    /// What differs: nothing in a good backup.
    pub problems: Vec<String>,
    /// What could not be compared in full.
    pub notes: Vec<String>,
}

impl Deep<'_> {
    /// Restores, compares, and removes the scratch database whatever happens. Errors when it could not be done; damage of
    /// the dump and differing rows are findings.
    pub async fn verify(&self, run: &Run) -> Result<Compared> {
        let settings = self.scratch_settings(run);
        let name = settings.get(self.engine.info().target_field).and_then(Value::as_str).unwrap_or_default().to_owned();
        run.info(format!("restoring the dump into the scratch database {name}"));
        let compared = self.restore_and_compare(&settings, &name, run).await;
        // A cancelled run would not get to remove anything.
        let removing = Run { cancel: Default::default(), ..run.clone() };
        run.progress(&Progress { stage: "removing the scratch database".into(), ..Progress::default() });
        let removed = self.engine.drop_scratch(&settings, &removing).await;
        match (compared, removed) {
            (Ok(compared), Ok(())) => Ok(compared),
            (Ok(mut compared), Err(error)) => {
                run.warn(format!("the scratch database {name} could not be removed: {error}"));
                compared.notes.push(format!("the scratch database {name} could not be removed: {error}"));
                Ok(compared)
            }
            (Err(error), removed) => {
                if let Err(left) = removed {
                    run.warn(format!("the scratch database {name} may still be there: {left}"));
                }
                Err(error)
            }
        }
    }

    fn scratch_settings(&self, run: &Run) -> Settings {
        let field = self.engine.info().target_field;
        let name = format!("{SCRATCH}{}", self.backup.short());
        let mut settings = self.settings.clone();
        let target = if field == "path" { run.scratch.join(name).to_string_lossy().into_owned() } else { name };
        settings.insert(field.to_owned(), Value::from(target));
        settings
    }

    async fn restore_and_compare(&self, settings: &Settings, name: &str, run: &Run) -> Result<Compared> {
        let options = validate(self.engine.info().restore_options, &Settings::new())?;
        let plan = RestorePlan { target_name: Some(name.to_owned()), engine: options, ..RestorePlan::default() };
        let request =
            RestoreRequest { settings: self.settings_or_target(settings), plan: &plan, source: self.source, expected: self.expected };
        self.engine.restore(request, run).await.map_err(|error| error.while_doing("restoring the dump into a scratch database"))?;
        let options = validate(self.engine.info().dump_options, &Settings::new())?;
        let mut source = self.engine.open_source(settings, &options, run).await?;
        let mut compared = Compared::default();
        let mut told = Vec::new();
        for table in &self.snapshot.schema().tables {
            self.compare_table(table, source.as_mut(), &mut compared, &mut told, run).await?;
        }
        compared.problems.extend(told);
        Ok(compared)
    }

    /// A file engine restores beside nothing: its settings are the scratch file's own.
    fn settings_or_target<'a>(&'a self, scratch: &'a Settings) -> &'a Settings {
        if self.engine.info().target_field == "path" { scratch } else { self.settings }
    }

    async fn compare_table(
        &self,
        table: &Table,
        source: &mut dyn RowSource,
        compared: &mut Compared,
        told: &mut Vec<String>,
        run: &Run,
    ) -> Result<()> {
        let Some(entry) = self.snapshot.entry(&table.name) else { return Ok(()) };
        let Some(restored) = source.schema().tables.iter().find(|other| other.name == table.name).cloned() else {
            compared.problems.push(format!("{} is not in the restored dump", table.name));
            return Ok(());
        };
        run.progress(&Progress {
            stage: "comparing with the snapshot".into(),
            tables: Some(compared.tables),
            total_tables: Some(self.snapshot.schema().tables.len() as u64),
            table: Some(table.name.to_string()),
            ..Progress::default()
        });
        let spec = RowSpec::of(Some(table), Some(&restored), &DiffOptions::default())?;
        if spec.needs_rekey() {
            compared.problems.push(format!("{} has another key in the restored dump", table.name));
            return Ok(());
        }
        let sampled = entry.sample.is_some();
        let sink = Arc::new(Mutex::new(First::of(table, sampled, TOLD.saturating_sub(told.len()))?));
        let (sender, mut rows) = live(&restored, source.order(&restored), run)?;
        let (snapshot, name, found, watched) = (self.snapshot.clone(), table.name.clone(), sink.clone(), run.clone());
        let comparing = blocking("comparing rows", move || {
            let mut own = snapshot.cursor(&name, None, None)?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            compare_rows(&mut own, &mut rows, &spec, &mut *found, &mut |_: &Tally| watched.check())
        });
        let range = KeyRange::all();
        let (read, tally) = tokio::join!(feed(source, &restored, &range, sender, run), comparing);
        run.check()?;
        read?;
        let tally = tally?;
        compared.tables += 1;
        compared.rows += entry.rows;
        let added = if sampled { 0 } else { tally.added };
        if sampled {
            compared.notes.push(format!("{}: only the rows of the sample were compared", table.name));
        }
        if added + tally.removed + tally.changed > 0 {
            compared.problems.push(format!(
                "{}: {} rows of the snapshot are not in the dump, {} rows of the dump are not in the snapshot, {} differ",
                table.name, tally.removed, added, tally.changed
            ));
            told.append(&mut sink.lock().unwrap_or_else(PoisonError::into_inner).rows);
        }
        Ok(())
    }
}

/// Keeps the first rows that differ, for people.
struct First {
    table: Table,
    layout: Layout,
    sampled: bool,
    left: usize,
    rows: Vec<String>,
}

impl First {
    fn of(table: &Table, sampled: bool, left: usize) -> Result<Self> {
        Ok(Self { table: table.clone(), layout: Layout::of(table)?, sampled, left, rows: Vec::new() })
    }
}

impl ChangeSink for First {
    fn change(&mut self, change: &ChangeRef<'_>) -> Result<()> {
        if self.left == 0 || (self.sampled && change.kind == ChangeKind::Added) {
            return Ok(());
        }
        self.left -= 1;
        let what = match change.kind {
            ChangeKind::Added => "is in the dump alone",
            ChangeKind::Removed => "is in the snapshot alone",
            ChangeKind::Changed => "has other values in the dump",
        };
        let value = change.before.or(change.after).unwrap_or_default();
        let key = key_text(&self.table, &self.layout, RowRef { key: change.key, value }).unwrap_or_else(|_| hex::encode(change.key));
        self.rows.push(format!("{}: the row {key} {what}", self.table.name));
        Ok(())
    }
}
