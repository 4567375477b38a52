//! `dbsnap restore`: a backup or a dump file into a database, without a server or a catalogue.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use serde_json::{Value, json};

use super::{input, terminal::Terminal};
use crate::{
    config::Config,
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::Settings,
        restore::{OnConflict, RestoreContent, RestoreMode, RestorePlan, RestoreSource},
    },
    engines::{DumpSource, Engine, RestoreRequest},
    error::{Context, Error, Kind, Result},
    pipeline::Limits,
    services::{
        manifests::Seal,
        restore::{self, source, upload},
        snapshots,
    },
    snapshot::Snapshot,
};

/// Restore a backup or a dump file into a database; needs no server.
///
/// The whole input is read and proven intact before anything is changed.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  dbsnap restore --from backups/shop_manual_20251116_143022_abc123.manifest.json --url postgresql://app:secret@localhost/shop_copy"
)]
pub struct Args {
    /// A manifest, or an artifact, a snapshot or any dump file by itself.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The target. Prefer the environment variable: other users of this machine can read command lines.
    #[arg(long, env = "DBSNAP_URL", hide_env_values = true)]
    url: String,
    /// new: into a database that does not exist yet; drop: replace it; clean: drop its restored objects first; append: add.
    #[arg(long, default_value = "new")]
    mode: RestoreMode,
    /// all, schema or data.
    #[arg(long, default_value = "all")]
    content: RestoreContent,
    /// Only these tables, as name or schema.name.
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// Restore although the manifest carries no signature, which anyone could have written.
    #[arg(long)]
    accept_unsigned: bool,
    /// End other connections to the target.
    #[arg(long)]
    end_connections: bool,
    /// An option of the engine, such as jobs=4; repeat it for more.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Let a backup of a part (schema only, rows only, chosen tables) replace a whole database.
    #[arg(long)]
    accept_partial: bool,
    /// What of a backup: dump, or snapshot (table by table, from its rows); the dump where there is one.
    #[arg(long)]
    source: Option<RestoreSource>,
    /// From a snapshot into an existing database: what becomes of rows that are there and differ: stop, skip or overwrite.
    #[arg(long, default_value = "stop")]
    on_conflict: OnConflict,
    /// From a snapshot: try everything, tell what would be done, and keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before an existing database is changed.
    #[arg(long)]
    yes: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Show every log line.
    #[arg(long, short)]
    verbose: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let (engine, settings) = input::database(&args.url)?;
    let plan = RestorePlan {
        mode: args.mode,
        content: args.content,
        tables: args.tables.clone(),
        end_connections: args.end_connections,
        accept_partial: args.accept_partial,
        source: args.source,
        on_conflict: args.on_conflict,
        dry_run: args.dry_run,
        engine: input::options(&args.options)?,
        ..RestorePlan::default()
    };
    let plan = restore::check_plan(engine, plan)
        .map_err(|error| error.hint(format!("options of {}: {}", engine.info().label, input::known_options(engine, true))))?;
    let (input, source_engine) = open(&args, &plan, &config).await?;
    if source_engine != engine.info().id {
        return Err(Error::validation(format!("a {source_engine} backup cannot be restored into {}", engine.info().label)));
    }
    if plan.mode != RestoreMode::New && !args.yes && !plan.dry_run {
        confirm(engine, &settings, plan.mode)?;
    }
    let terminal = Terminal::new(args.verbose);
    let (run, _scratch) = input::surroundings(&config, terminal.clone())?;
    let outcome = match &input {
        Input::Dump(source, expected) => {
            engine.restore(RestoreRequest { settings: &settings, plan: &plan, source: source.as_ref(), expected }, &run).await
        }
        Input::Rows(snapshot) => restore::rows::restore(engine, &settings, &plan, snapshot.clone(), &run).await,
    };
    terminal.done();
    input::tell_learned(&run);
    let outcome = outcome?;
    let rows: u64 = outcome.tables.iter().map(|table| table.rows).sum();
    if args.json {
        println!(
            "{}",
            json!({ "target": engine.address(&settings), "rows": rows, "tables": outcome.tables, "warnings": outcome.warnings })
        );
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &outcome.warnings {
        eprintln!("warn: {warning}");
    }
    let (address, tables) = (engine.address(&settings), outcome.tables.len());
    if plan.dry_run {
        println!("Nothing was changed: {rows} rows in {tables} tables would be in {address}.");
    } else {
        println!("Restored into {address}: {rows} rows in {tables} tables, counted afterwards.");
    }
    Ok(ExitCode::SUCCESS)
}

/// What is restored from: a dump with the counts that are promised of it, or the rows of a snapshot.
enum Input {
    Dump(Box<dyn DumpSource>, Vec<TableCount>),
    Rows(Arc<Snapshot>),
}

/// What is restored, and its engine. Errors when a part would replace the whole.
async fn open(args: &Args, plan: &RestorePlan, config: &Config) -> Result<(Input, String)> {
    let keys = input::key_ring(config).await?;
    if input::is_manifest(&args.from) {
        let found = input::open_manifest(&args.from, keys.as_ref()).await?;
        if found.seal == Seal::Unsigned && keys.is_some() && !args.accept_unsigned {
            return Err(Error::validation(format!("{} carries no signature: anyone could have written it", args.from.display()))
                .hint("pass --accept-unsigned when you know that it was backed up without a key"));
        }
        found.warn_of_seal(keys.is_some());
        if restore::source_of(plan, &found.artifacts)? == RestoreSource::Snapshot {
            let artifact = found.artifacts.iter().find(|artifact| artifact.kind == ArtifactKind::Snapshot);
            let artifact = artifact.ok_or_else(|| Error::internal("a snapshot that is listed and not there"))?;
            let snapshot = snapshots::open_stored(found.store.clone(), artifact, keys.as_ref()).await?;
            return Ok((Input::Rows(Arc::new(snapshot)), found.manifest.engine));
        }
        restore::check_partial(found.manifest.partial, plan).map_err(|error| {
            error.fields(Vec::new()).hint("restore it in another mode, or pass --accept-partial if what it leaves out may be lost")
        })?;
        let source = source::Stored { store: found.store, artifacts: found.artifacts, keys };
        return Ok((Input::Dump(Box::new(source), found.manifest.tables), found.manifest.engine));
    }
    let path = input::existing(&args.from)?;
    // The file is the operator's own: no cap but the disk's.
    let found = upload::recognise(&path, keys.as_ref(), Limits::default()).await?;
    let engine = found.engine.info().id.to_owned();
    if found.format == DumpFormat::Snapshot {
        restore::check_source(plan, RestoreSource::Snapshot)?;
        let snapshot = snapshots::open_file(&path, keys.as_ref()).await?;
        return Ok((Input::Rows(Arc::new(snapshot)), engine));
    }
    restore::check_source(plan, RestoreSource::Dump)?;
    let source = source::File { path, format: found.format, keys, limits: Limits::default() };
    Ok((Input::Dump(Box::new(source), Vec::new()), engine))
}

/// Has the target's name typed. Errors when there is nobody to ask.
fn confirm(engine: &dyn Engine, settings: &Settings, mode: RestoreMode) -> Result<()> {
    let target = settings.get(engine.info().target_field).and_then(Value::as_str).unwrap_or_default();
    let address = engine.address(settings);
    let unconfirmed = |context: String| Error::validation(context).hint("pass --yes to go on without asking");
    if !std::io::stdin().is_terminal() {
        return Err(unconfirmed(format!("mode {mode} changes the existing {address}, and there is no terminal to confirm it at")));
    }
    eprint!("This changes {address} (mode {mode}). Type {target} to go on: ");
    std::io::stderr().flush().context(Kind::Internal, || "asking for confirmation".into())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context(Kind::Internal, || "reading the confirmation".into())?;
    if answer.trim() == target { Ok(()) } else { Err(unconfirmed("not confirmed: nothing was changed".into())) }
}
