//! The dump that is being restored: spooled to the run's scratch folder and proven whole before anything is changed.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio_postgres::Client;

use super::{
    archive::{Archive, Keep},
    connect::{Target, failed, literal},
    count::compare,
    inspect::{ScriptInspector, table_counts},
    origin::Origin,
    pg_restore::Orders,
    restore::no_dump,
    script::{self, Manner, Script},
    select::Selection,
    tools::{Places, Version},
    watch::Limits,
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        fields::SettingsExt,
        restore::{RestoreContent, RestoreMode, RestorePlan},
        run::Run,
        stream::ByteStream,
    },
    engines::{Inspector, RestoreRequest, process::Program, spool},
    error::{Context, Error, Kind, Result},
};

/// The first major release that knows `transaction_timeout`, which pg_restore of that release and later sets.
const TRANSACTION_TIMEOUT: u32 = 17;

pub enum Input {
    Archive {
        path: PathBuf,
        archive: Box<Archive>,
        /// `None`: everything.
        selection: Option<Selection>,
        /// Rows of the tables that will be restored; empty when the archive does not tell.
        expected: Vec<TableCount>,
    },
    Script(Script),
}

impl Input {
    /// Reads the dump of a request to its end. Errors when it is damaged, when it does not hold the rows its manifest
    /// names, when a chosen table is not in it, or when it cannot be restored as the plan says.
    pub async fn read(request: &RestoreRequest<'_>, run: &Run) -> Result<Self> {
        let parts = request.source.parts();
        let (_, format) = parts.into_iter().find(|(part, _)| *part == ArtifactKind::Dump).ok_or_else(no_dump)?;
        let stream = request.source.open(ArtifactKind::Dump).await?;
        let path = run.scratch.join(format!("restore.{}", format.extension()));
        match format {
            DumpFormat::PgCustom => Self::archive(stream, path, request, run).await,
            DumpFormat::PlainSql => {
                let plan = request.plan;
                if plan.mode == RestoreMode::Clean || plan.content != RestoreContent::All || !plan.tables.is_empty() {
                    return Err(Error::validation(
                        "an SQL script is run as it is: no part of it can be chosen, and nothing is dropped first",
                    )
                    .hint("use the modes new, drop or append with all content, or make an archive with pg_dump -Fc"));
                }
                let mut inspector = spool(stream, &path, ScriptInspector::default(), |inspector, bytes| inspector.feed(bytes), run).await?;
                inspector.finish()?;
                Ok(Self::Script(script::scan(path, run).await?))
            }
            DumpFormat::SqliteFile | DumpFormat::MongoArchive | DumpFormat::Snapshot => {
                Err(Error::validation("a SQLite file cannot be restored into PostgreSQL").hint("choose a SQLite target"))
            }
        }
    }

    async fn archive(stream: ByteStream, path: PathBuf, request: &RestoreRequest<'_>, run: &Run) -> Result<Self> {
        let archive = spool(stream, &path, Archive::new(Keep::Everything), Archive::feed, run).await?;
        archive.finish()?;
        write_offsets(&path, archive.offsets().collect()).await?;
        let counts = table_counts(&archive);
        if !counts.is_empty() {
            compare(request.expected, &counts).map_err(|error| error.while_doing("the archive does not hold what its manifest says"))?;
        }
        let plan = request.plan;
        let fresh = matches!(plan.mode, RestoreMode::New | RestoreMode::Drop);
        let selection = match plan.tables.as_slice() {
            [] => None,
            tables => Some(Selection::of(tables, archive.entries(), fresh)?),
        };
        let chosen = |id: i64| selection.as_ref().is_none_or(|selection| selection.ids.contains(&id));
        let expected = archive
            .counted()
            .filter(|(entry, _)| chosen(entry.id))
            .map(|(entry, rows)| TableCount { schema: entry.schema.clone(), name: entry.tag.clone(), rows })
            .collect();
        Ok(Self::Archive { path, archive: Box::new(archive), selection, expected })
    }

    /// The encoding and locale of the database it came from, where that is known.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Archive { archive, .. } => Origin::of(archive),
            Self::Script(_) => Origin::default(),
        }
    }

    /// Rows per restored table as the dump has them; empty when it does not tell.
    pub fn expected(&self) -> &[TableCount] {
        match self {
            Self::Archive { expected, .. } => expected,
            Self::Script(_) => &[],
        }
    }

    /// The tables whose rows it brings; those of a script are all that the database then has.
    pub async fn tables(&self, client: &Client) -> Result<Vec<(Option<String>, String)>> {
        match self {
            Self::Archive { archive, selection, .. } => Ok(archive
                .entries()
                .iter()
                .filter(|entry| entry.copies && selection.as_ref().is_none_or(|selection| selection.ids.contains(&entry.id)))
                .map(|entry| (entry.schema.clone(), entry.tag.clone()))
                .collect()),
            Self::Script(_) => {
                let rows = client
                    .query(
                        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                          WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2",
                        &[],
                    )
                    .await
                    .map_err(|cause| failed("listing the restored tables", &cause))?;
                Ok(rows.iter().map(|row| (Some(row.get(0)), row.get(1))).collect())
            }
        }
    }

    /// Loads it into an existing database. `watcher` is a connection to that database. Returns the errors it went past.
    pub async fn load(&self, load: Load<'_>, watcher: &Client, warnings: &mut Vec<String>, run: &Run) -> Result<Vec<String>> {
        let options = &load.plan.engine;
        let go_on = options.get("exitOnError").and_then(Value::as_bool) == Some(false);
        let single_transaction = options.flag("singleTransaction");
        let old_server = load.server.major < TRANSACTION_TIMEOUT;
        let limits = Limits::of(options);
        let (path, archive, selection) = match self {
            Self::Script(script) => return run_script(script, Manner { single_transaction, old_server, go_on }, &load, watcher, run).await,
            Self::Archive { path, archive, selection, .. } => (path, archive, selection),
        };
        let tool = load.places.to_restore(archive.version(), load.server, run).await?;
        run.info(format!("with {tool}"));
        warnings.extend(tool.warning());
        warnings.extend(selection.iter().flat_map(|selection| selection.warnings.iter().cloned()));
        let mut arguments = arguments(load.plan);
        if let Some(selection) = selection {
            let list = run.scratch.join("restore.list");
            fs::write(&list, selection.list(archive.entries())).context(Kind::Storage, || format!("writing {}", list.display()))?;
            arguments.push(format!("--use-list={}", list.display()));
        }
        let sets_timeout = old_server && tool.version.major >= TRANSACTION_TIMEOUT;
        if single_transaction && sets_timeout {
            // There, pg_restore would take its own setting for an error and roll everything back. So it writes a script.
            let text = run.scratch.join("restore.sql");
            let program = Program::new(&tool.path).args(arguments).arg(format!("--file={}", text.display())).arg(path);
            program.spawn(run)?.success(run).await?;
            let script = script::scan(text, run).await?;
            return run_script(&script, Manner { single_transaction, old_server, go_on: false }, &load, watcher, run).await;
        }
        if single_transaction {
            arguments.push("--single-transaction".into());
        } else {
            arguments.push(format!("--jobs={}", options.integer("jobs").unwrap_or(2)));
        }
        let tables = self.tables(watcher).await?.len() as u64;
        let orders = Orders {
            tool: &tool,
            target: load.target,
            archive: path,
            arguments,
            limits,
            stop_at_error: !go_on,
            old_server: sets_timeout,
            tables,
        };
        orders.carry_out(watcher, run).await
    }
}

/// Where and how to load.
pub struct Load<'a> {
    pub target: &'a Target,
    pub server: Version,
    pub plan: &'a RestorePlan,
    pub places: Places,
}

async fn run_script(script: &Script, manner: Manner, load: &Load<'_>, watcher: &Client, run: &Run) -> Result<Vec<String>> {
    let client = load.target.connect(run).await?;
    let name = format!("dbsnap {}", uuid::Uuid::new_v4().simple());
    let naming = client.batch_execute(&format!("SET application_name = {}", literal(&name))).await;
    naming.map_err(|cause| failed("preparing to run the script", &cause))?;
    let done = tokio::select! {
        past = script.run(&client, manner, run) => past,
        error = Limits::of(&load.plan.engine).enforce(watcher, &name) => Err(error),
    };
    if done.is_err() {
        // The server would go on with the statement in work.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        if let Err(cause) = watcher.query(end, &[&name]).await {
            run.warn(failed("ending the session of the script", &cause).to_string());
        }
    }
    done
}

/// What the plan means to pg_restore.
fn arguments(plan: &RestorePlan) -> Vec<String> {
    let options = &plan.engine;
    let clean = plan.mode == RestoreMode::Clean;
    [
        (plan.content == RestoreContent::Schema, "--schema-only"),
        (plan.content == RestoreContent::Data, "--data-only"),
        (clean, "--clean"),
        (clean && options.get("ifExists").is_none_or(|value| value.as_bool() != Some(false)), "--if-exists"),
        (options.flag("noOwner"), "--no-owner"),
        (options.flag("noPrivileges"), "--no-privileges"),
        (options.flag("disableTriggers"), "--disable-triggers"),
    ]
    .into_iter()
    .filter(|(wanted, _)| *wanted)
    .map(|(_, argument)| argument.to_owned())
    .collect()
}

/// Completes the table of contents of a spooled archive, as pg_dump does when its output is a file. What an archive said
/// itself is overwritten: pg_restore then reads the blocks that were proven, and no others.
async fn write_offsets(path: &Path, offsets: Vec<(u64, Vec<u8>)>) -> Result<()> {
    let naming = format!("completing {}", path.display());
    let path = path.to_owned();
    let write = move || {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        offsets.iter().try_for_each(|(position, bytes)| file.write_all_at(bytes, *position))
    };
    let written = tokio::task::spawn_blocking(write).await.context(Kind::Internal, || naming.clone())?;
    written.context(Kind::Storage, || naming)
}
