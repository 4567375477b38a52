//! SQLite: a database is a file, dumped through the online backup API while others write.
//!
//! A live file is only ever opened through SQLite. POSIX drops all locks of a process on a file as soon as the process
//! closes any descriptor of it, so reading a header with plain file calls could unlock a database that is in use here.

use std::path::PathBuf;

use async_trait::async_trait;
use rusqlite::Connection;

use super::{Dump, Engine, EngineInfo, Inspector, RestoreOutcome, RestoreRequest, RowSource, RowTarget, Script, parse_url};
use crate::{
    domain::{
        artifact::DumpFormat,
        database::{Probe, Settings},
        fields::{Field, FieldKind, SettingsExt},
        restore::{RestoreContent, RestoreMode},
        run::Run,
    },
    error::{Error, Kind, Result},
};

mod apply;
mod cells;
mod check;
mod connect;
mod copy;
mod definition;
mod describe;
mod dump;
mod faults;
mod header;
mod make;
mod merge;
mod probe;
mod restore;
mod rows;
mod schema;
mod script;
mod target;

/// The engine `sqlite`.
pub struct Sqlite;

/// How long to wait for a lock that somebody else holds.
const BUSY_TIMEOUT: Field = Field::new("busyTimeout", "Lock timeout (s)", FieldKind::Integer { min: 0, max: 3600 })
    .default("60")
    .help("How long to wait for a lock that another connection holds.");

static INFO: EngineInfo = EngineInfo {
    id: "sqlite",
    label: "SQLite",
    icon: "sqlite",
    schemes: &["sqlite"],
    connection: &[Field::new("path", "Database file", FieldKind::Path)
        .required()
        .help("In a container, mount the folder that holds the file, not the file alone: SQLite keeps its journal beside it.")],
    dump_options: &[BUSY_TIMEOUT],
    table_lists: None,
    restore_options: &[
        BUSY_TIMEOUT,
        Field::new("ignoreForeignKeys", "Accept broken references", FieldKind::Bool)
            .default("false")
            .help("Restore even when rows then refer to rows that are not there."),
    ],
    restore_modes: &[RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append],
    restore_contents: &[RestoreContent::All, RestoreContent::Schema, RestoreContent::Data],
    target_field: "path",
    restore_tables: true,
    end_connections: false,
    formats: &[DumpFormat::SqliteFile],
};

#[async_trait]
impl Engine for Sqlite {
    fn info(&self) -> &'static EngineInfo {
        &INFO
    }

    fn settings_from_url(&self, url: &str) -> Result<Settings> {
        let hint = "write it as sqlite:///path/file.db, with ? and # in the path as %3F and %23";
        let wrong = |cause: &str| Error::validation(format!("'{url}' does not name a SQLite file: {cause}")).hint(hint);
        let url = parse_url(url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let path = url.to_file_path().map_err(|()| wrong("a path that starts with / is needed after sqlite://"))?;
        let path = path.into_os_string().into_string().map_err(|_| wrong("the path is not UTF-8"))?;
        if path.ends_with('/') {
            return Err(wrong("it names a folder"));
        }
        Ok(Settings::from_iter([("path".to_owned(), path.into())]))
    }

    fn address(&self, settings: &Settings) -> String {
        settings.text("path").unwrap_or_default().to_owned()
    }

    async fn probe(&self, settings: &Settings, run: &Run) -> Result<Probe> {
        let path = path_of(settings.text("path"))?;
        on_thread(run, move |run| probe::probe(&path, run)).await
    }

    async fn open_source(&self, settings: &Settings, options: &Settings, run: &Run) -> Result<Box<dyn RowSource>> {
        let (path, patience) = (path_of(settings.text("path"))?, connect::patience(options));
        Ok(Box::new(on_thread(run, move |run| rows::SqliteSource::live(&path, patience, run)).await?))
    }

    async fn open_target(&self, settings: &Settings, run: &Run) -> Result<Box<dyn RowTarget>> {
        let path = path_of(settings.text("path"))?;
        Ok(Box::new(on_thread(run, move |run| target::SqliteTarget::open(&path, run)).await?))
    }

    fn script(&self) -> Option<&'static dyn Script> {
        Some(&script::SqliteScript)
    }

    async fn drop_scratch(&self, settings: &Settings, run: &Run) -> Result<()> {
        let path = path_of(settings.text("path"))?;
        on_thread(run, move |_| target::drop_scratch(&path)).await
    }

    async fn open_dump(&self, settings: &Settings, options: &Settings, _with_rows: bool, run: &Run) -> Result<Box<dyn Dump>> {
        let (path, patience) = (path_of(settings.text("path"))?, connect::patience(options));
        Ok(Box::new(on_thread(run, move |run| dump::SqliteDump::open(&path, patience, run)).await?))
    }

    fn inspector(&self, _: DumpFormat) -> Box<dyn Inspector> {
        Box::new(header::HeaderInspector::default())
    }

    fn recognise(&self, head: &[u8]) -> Option<DumpFormat> {
        head.starts_with(header::MAGIC).then_some(DumpFormat::SqliteFile)
    }

    async fn restore(&self, request: RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome> {
        restore::restore(request, run).await
    }
}

/// The path in the settings or a plan, absolute: SQLite reads a name that starts with `file:` as a URI.
fn path_of(path: Option<&str>) -> Result<PathBuf> {
    let path = path.filter(|path| !path.is_empty()).ok_or_else(|| Error::validation("a SQLite database needs a 'path'"))?;
    std::path::absolute(path).map_err(|cause| Error::validation(format!("'{path}' is not a path")).source(cause))
}

/// Runs SQLite work on a thread that may block. When the caller goes away, the work is cancelled.
async fn on_thread<T: Send + 'static>(run: &Run, work: impl FnOnce(&Run) -> Result<T> + Send + 'static) -> Result<T> {
    let run = Run { cancel: run.cancel.child_token(), ..run.clone() };
    let _cancel_with_me = run.cancel.clone().drop_guard();
    tokio::task::spawn_blocking(move || {
        run.check()?;
        work(&run)
    })
    .await
    .map_err(|cause| Error::internal("SQLite work ended early").source(cause))?
}

/// The version of the SQLite library in this build.
fn library_version() -> String {
    format!("SQLite {}", rusqlite::version())
}

/// An identifier as SQL.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One value that a pragma or a query answers.
fn ask<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> rusqlite::Result<T> {
    connection.query_row(sql, [], |row| row.get(0))
}

/// A number of rows, pages or bytes.
fn ask_count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    // SQLite's numbers are signed; these are never negative.
    ask::<i64>(connection, sql).map(i64::unsigned_abs)
}

/// Errors unless the folder has room for `needed` bytes.
fn check_room(folder: &std::path::Path, needed: u64) -> Result<()> {
    let space = rustix::fs::statvfs(folder)
        .map_err(|cause| Error::new(Kind::Storage, format!("looking for free space in {}", folder.display())).source(cause))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free >= needed {
        return Ok(());
    }
    Err(Error::new(Kind::Storage, format!("{} has {free} bytes free where the copy of the database needs {needed}", folder.display()))
        .hint("free space there"))
}
