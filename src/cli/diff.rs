//! `dbsnap diff`: what two moments of a database have different, with no server and no catalogue.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::ValueEnum;
use futures_util::StreamExt;
use tempfile::TempDir;

use super::{input, terminal::Terminal};
use crate::{
    config::Config,
    diff::{Report, ReportWriter, table_text},
    domain::{
        artifact::ArtifactKind,
        database::Settings,
        diff::{Change, ChangeFilter, ChangeView, ColumnDiff, DiffOptions, DiffSummary, DiffTier, PatchFormat, TableDiff, ValueView},
        restore::Direction,
        run::Run,
    },
    engines::{self, Engine},
    error::{Context, Error, Kind, Result},
    pipeline::keys::KeyRing,
    services::{
        compare::{
            between::{self, Sides},
            check_options,
            execute::open_live,
            patch::{Wanted, patch_stream},
            sides::Side,
            telling::Telling,
        },
        snapshots::keys,
    },
    snapshot::{FileAt, Snapshot, Unlock},
};

/// Compare two moments of a database, row by row.
///
/// A and B are manifests, snapshot files, or `live:` and the URL of a database, at most one of them live. Exit code 0: they
/// are equal, 1: they differ, 2: they could not be compared.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  dbsnap diff monday.manifest.json tuesday.manifest.json --rows\n  \
    dbsnap diff monday.manifest.json live:postgresql://app@db/shop --ignore-column updated_at\n  \
    dbsnap diff monday.snap tuesday.snap --patch sql --direction revert > back.sql")]
pub struct Args {
    /// What was before.
    #[arg(value_name = "A")]
    before: String,
    /// What is after.
    #[arg(value_name = "B")]
    after: String,
    /// Print the whole result as JSON.
    #[arg(long, conflicts_with_all = ["patch", "rows"])]
    json: bool,
    /// Print a patch instead of the summary.
    #[arg(long, value_name = "FORMAT", conflicts_with = "rows")]
    patch: Option<Format>,
    /// What the patch does: `apply` makes A what B is, `revert` makes B what A is.
    #[arg(long, default_value = "apply")]
    direction: Way,
    /// Print the changed rows too.
    #[arg(long)]
    rows: bool,
    /// Rows of each table that are printed.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u32,
    /// Tables to compare, as name or schema.name, `*` for any text; can be repeated or separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    tables: Vec<String>,
    /// Columns whose changes do not count, as column, table.column or schema.table.column; can be repeated.
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    ignore_column: Vec<String>,
    /// Numbers of float columns that differ by no more are equal.
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER")]
    float_tolerance: f64,
    /// Times that differ by no more milliseconds are equal.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    time_tolerance_ms: u64,
    /// Spaces at the end of text do not count.
    #[arg(long)]
    ignore_trailing_space: bool,
    /// Upper and lower case of text are equal.
    #[arg(long)]
    ignore_case: bool,
    /// Read every row of a live database, also those that the server says are unchanged.
    #[arg(long)]
    full: bool,
    /// Rows read from a live database per second at most; 0 means as fast as it goes.
    #[arg(long, default_value_t = 0, value_name = "N")]
    rows_per_second: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Sql,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Apply,
    Revert,
}

/// Any error is exit code 2: 1 says that the two differ.
pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    match compare(args, config).await {
        Ok(equal) => Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(error) => {
            eprintln!("dbsnap: {error}");
            Ok(ExitCode::from(2))
        }
    }
}

async fn compare(args: Args, config: Config) -> Result<bool> {
    if args.before.starts_with(LIVE) && args.after.starts_with(LIVE) {
        return Err(Error::validation("two live databases cannot be compared").hint("make a snapshot of one of them first"));
    }
    let keys = input::key_ring(&config).await?;
    let terminal = Terminal::new(false);
    let (run, scratch) = input::surroundings(&config, terminal.clone())?;
    let compared = compared(&args, keys, &run, &scratch).await;
    terminal.done();
    input::tell_learned(&run);
    let compared = compared?;
    show(&args, &compared).await?;
    Ok(compared.summary.equal)
}

/// What the comparison found.
struct Compared {
    engine: &'static dyn Engine,
    database: String,
    summary: DiffSummary,
    report: Report,
}

const LIVE: &str = "live:";

/// A side that is open, and what it is of.
struct Opened {
    side: Side,
    engine: &'static dyn Engine,
    database: String,
}

async fn compared(args: &Args, keys: Option<KeyRing>, run: &Run, scratch: &TempDir) -> Result<Compared> {
    let options = options(args)?;
    let telling = Arc::new(Telling::new(run));
    let before = open(&args.before, &options, keys.as_ref(), &telling, run).await?;
    let after = open(&args.after, &options, keys.as_ref(), &telling, run).await?;
    let (one, other) = (before.engine.info(), after.engine.info());
    if one.id != other.id {
        return Err(Error::validation(format!("{} cannot be compared with {}: the engines differ", one.label, other.label)));
    }
    let (engine, database) = (after.engine, if before.database.is_empty() { after.database } else { before.database });
    let sides = Sides { before: before.side, after: after.side, before_label: label(&args.before), after_label: label(&args.after) };
    let (path, run, name) = (scratch.path().join("report"), run.clone(), database.clone());
    let working = tokio::task::spawn_blocking(move || -> Result<_> {
        let naming = || "writing the report of the comparison".to_owned();
        let mut file = std::fs::File::create_new(&path).context(Kind::Storage, naming)?;
        let output = Box::new(move |bytes: bytes::Bytes| file.write_all(&bytes).context(Kind::Storage, naming));
        let mut writer = ReportWriter::new(output, engine.info().id, &name, keys.as_ref().map(keys::lock))?;
        let summary = between::compare(&sides, &options, &mut writer, &telling, &run, &mut |_| Ok(()))?;
        writer.finish(&summary)?;
        let report = Report::open(Arc::new(FileAt::open(&path)?), keys.as_ref().map(|keys| keys as &dyn Unlock))?;
        Ok((summary, report))
    });
    let (summary, report) = working.await.context(Kind::Internal, || "comparing".into())??;
    Ok(Compared { engine, database, summary, report })
}

fn options(args: &Args) -> Result<DiffOptions> {
    check_options(DiffOptions {
        tables: args.tables.clone(),
        ignore_columns: args.ignore_column.clone(),
        float_tolerance: args.float_tolerance,
        time_tolerance_ms: args.time_tolerance_ms,
        ignore_trailing_space: args.ignore_trailing_space,
        ignore_case: args.ignore_case,
        tier: if args.full { DiffTier::Full } else { DiffTier::Auto },
        rows_per_second: args.rows_per_second,
        ..DiffOptions::default()
    })
}

/// For people; the password of a URL is not repeated.
fn label(side: &str) -> String {
    if side.starts_with(LIVE) { "live database".to_owned() } else { side.to_owned() }
}

async fn open(side: &str, options: &DiffOptions, keys: Option<&KeyRing>, telling: &Arc<Telling>, run: &Run) -> Result<Opened> {
    if let Some(url) = side.strip_prefix(LIVE) {
        let (engine, settings) = input::database(url)?;
        let live = open_live(engine, &settings, &Settings::new(), options, telling, run).await?;
        return Ok(Opened { side: Side::Live(Box::new(live)), engine, database: String::new() });
    }
    let path = Path::new(side);
    let path = if input::is_manifest(path) { snapshot_of(path, keys).await? } else { input::existing(path)? };
    let keys = keys.cloned();
    let opening = tokio::task::spawn_blocking(move || -> Result<_> {
        let opened = Snapshot::open(Arc::new(FileAt::open(&path)?), keys.as_ref().map(|keys| keys as &dyn Unlock));
        opened.map_err(|error| error.while_doing(format!("opening {}", path.display())))
    });
    let snapshot = opening.await.context(Kind::Internal, || "opening a snapshot".into())??;
    let (engine, database) = (engines::find(&snapshot.facts().engine)?, snapshot.facts().database.clone());
    Ok(Opened { side: Side::Snapshot(Arc::new(snapshot)), engine, database })
}

/// The snapshot that stands beside a manifest.
async fn snapshot_of(manifest: &Path, keys: Option<&KeyRing>) -> Result<PathBuf> {
    let found = input::open_manifest(manifest, keys).await?;
    found.warn_of_seal(keys.is_some());
    let artifact = found.artifacts.iter().find(|artifact| artifact.kind == ArtifactKind::Snapshot).ok_or_else(|| {
        Error::validation(format!("{} is of a backup without a snapshot", manifest.display()))
            .hint("make the backup with --artifacts dump,snapshot")
    })?;
    let folder = input::existing(manifest)?;
    input::existing(&folder.with_file_name(artifact.file_name()))
}

async fn show(args: &Args, compared: &Compared) -> Result<()> {
    if args.json {
        let text = serde_json::to_string_pretty(&compared.summary).context(Kind::Internal, || "writing the result".into())?;
        println!("{text}");
        return Ok(());
    }
    if let Some(format) = args.patch {
        return print_patch(args, format, compared).await;
    }
    let paint = Paint::for_stdout();
    for line in lines(compared, &paint) {
        println!("{line}");
    }
    if args.rows {
        print_rows(args, compared, &paint)?;
    }
    Ok(())
}

async fn print_patch(args: &Args, format: Format, compared: &Compared) -> Result<()> {
    let wanted = Wanted {
        engine: compared.engine,
        database: compared.database.clone(),
        format: match format {
            Format::Sql => PatchFormat::Sql,
            Format::Json => PatchFormat::Json,
        },
        direction: match args.direction {
            Way::Apply => Direction::Apply,
            Way::Revert => Direction::Revert,
        },
        filter: ChangeFilter::default(),
    };
    wanted.check()?;
    let mut patch = patch_stream(compared.report.clone(), compared.summary.clone(), wanted);
    let mut out = std::io::stdout().lock();
    while let Some(piece) = patch.next().await.transpose()? {
        out.write_all(&piece).context(Kind::Storage, || "writing the patch".into())?;
    }
    out.flush().context(Kind::Storage, || "writing the patch".into())
}

/// Colours, on a terminal that wants them. Signs and words say the same without.
struct Paint(bool);

impl Paint {
    fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb"))
    }

    fn of(&self, sign: &str, text: &str) -> String {
        let code = match sign {
            "+" => "32",
            "−" => "31",
            "~" => "33",
            _ => return text.to_owned(),
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The summary, a line for each table that differs, the others together.
fn lines(compared: &Compared, paint: &Paint) -> Vec<String> {
    let summary = &compared.summary;
    let mut tables: Vec<&TableDiff> = summary.tables.iter().collect();
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    let (equal, different): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.is_equal());
    let mut lines = Vec::new();
    for table in different {
        let sign = match (table.added, table.removed, table.changed, table.table) {
            (.., Some(change)) => change.sign(),
            (_, 0, 0, _) if table.added > 0 => "+",
            (0, _, 0, _) if table.removed > 0 => "−",
            _ => "~",
        };
        lines.push(paint.of(sign, &format!("{sign} {}", table_text(table))));
        lines.extend(table.notes.iter().map(|note| format!("    {note}")));
    }
    for change in &summary.schema {
        lines.push(paint.of(change.change.sign(), &format!("{} schema: {}", change.change.sign(), change.text)));
    }
    if !equal.is_empty() {
        let names: Vec<_> = equal.iter().map(|table| table.name.as_str()).collect();
        lines.push(format!("  {} unchanged", names.join(", ")));
    }
    let hidden: u64 = summary.tables.iter().map(|table| table.hidden).sum();
    if hidden > 0 {
        lines.push(format!("  {hidden} changed rows are hidden by the options"));
    }
    lines.extend(summary.provenance.notes.iter().map(|note| format!("  {note}")));
    if summary.equal {
        lines.push("They are equal.".to_owned());
    }
    lines
}

fn print_rows(args: &Args, compared: &Compared, paint: &Paint) -> Result<()> {
    let mut tables: Vec<&TableDiff> = compared.summary.tables.iter().filter(|table| table.changes() > 0).collect();
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    for table in tables {
        println!("\n{}", table.name);
        let filter = ChangeFilter { table: Some(table.name.clone()), ..ChangeFilter::default() };
        let page = compared.report.page(&filter, 1, args.limit.max(1), None)?;
        for change in &page.changes {
            println!("{}", paint.of(change.kind.sign(), &row_line(&page.columns, change)));
        }
        let more = page.total.unwrap_or(0).saturating_sub(page.changes.len() as u64);
        if more > 0 {
            println!("  and {more} more (--limit)");
        }
    }
    Ok(())
}

/// One changed row: its sign, its key, then its values, old and new where they changed.
fn row_line(columns: &[ColumnDiff], change: &ChangeView) -> String {
    let mut line = format!("  {} {}", change.kind.sign(), change.key.join(", "));
    for (column, cell) in columns.iter().zip(&change.cells).filter(|(column, _)| !column.key) {
        match (&cell.before, &cell.after) {
            _ if change.kind == Change::Changed && !cell.changed => {}
            (Some(before), Some(after)) if cell.changed => {
                line.push_str(&format!("  {}: {} → {}", column.name, shown(before), shown(after)));
            }
            (Some(value), _) | (None, Some(value)) => line.push_str(&format!("  {}: {}", column.name, shown(value))),
            (None, None) => {}
        }
    }
    if let Some((before, after)) = change.counts {
        line.push_str(&format!("  ({before} times → {after} times)"));
    }
    line
}

/// A value on one line. Control characters, which could give a terminal orders, are written out.
fn shown(value: &ValueView) -> String {
    let Some(text) = &value.text else { return "NULL".to_owned() };
    let mut short: String =
        text.chars().take(80).flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect();
    if value.cut || text.chars().count() > 80 {
        short.push('…');
    }
    short
}
