//! PostgreSQL, by its own client programs: pg_dump, pg_dumpall and pg_restore. psql is never run.

use async_trait::async_trait;

use self::{address::Address, connect::Target, dump::PgDump, source::PgSource, target::PgTarget, tools::Places};
use super::{Dump, Engine, EngineInfo, Inspector, RestoreOutcome, RestoreRequest, RowSource, RowTarget, Script};
use crate::{
    domain::{
        artifact::DumpFormat,
        database::{Probe, Settings},
        fields::SettingsExt,
        run::Run,
    },
    error::Result,
};

mod account;
mod address;
mod apply;
mod archive;
mod catalog;
mod change;
mod connect;
mod copy;
mod count;
mod create;
mod dump;
mod globals;
mod info;
mod input;
mod inspect;
mod lexer;
mod objects;
mod origin;
mod pg_restore;
mod place;
mod quiet;
mod range;
mod recognise;
mod restore;
mod rows;
mod scope;
mod script;
mod select;
mod server;
mod session;
mod source;
mod statement;
mod swap;
mod target;
mod tools;
mod touched;
mod watch;

/// The engine.
pub struct Postgres {
    /// Look for client programs also where packages install them and in PATH, not only in the folders of a run.
    pub usual_places: bool,
}

impl Postgres {
    fn places(&self) -> Places {
        Places { usual: self.usual_places }
    }
}

#[async_trait]
impl Engine for Postgres {
    fn info(&self) -> &'static EngineInfo {
        &info::INFO
    }

    fn settings_from_url(&self, url: &str) -> Result<Settings> {
        address::settings_from_url(url)
    }

    fn address(&self, settings: &Settings) -> String {
        Address::from_settings(settings).map(|address| address.to_string()).unwrap_or_default()
    }

    async fn probe(&self, settings: &Settings, run: &Run) -> Result<Probe> {
        let target = Target::open(settings, run).await?;
        server::probe(&target, self.places(), run).await.map_err(|error| target.explain(error))
    }

    async fn active_connections(&self, settings: &Settings, run: &Run) -> Result<Option<u32>> {
        let target = Target::open(settings, run).await?;
        server::active_connections(&target, run).await.map_err(|error| target.explain(error))
    }

    fn partial(&self, options: &Settings) -> Option<&'static str> {
        const CHOICES: [&str; 4] = ["includeTables", "excludeTables", "includeSchemas", "excludeSchemas"];
        match () {
            () if options.flag("schemaOnly") => Some("schema only"),
            () if options.flag("dataOnly") => Some("rows only"),
            () if CHOICES.iter().any(|name| !options.list(name).is_empty()) => Some("chosen tables or schemas"),
            () => None,
        }
    }

    async fn open_source(&self, settings: &Settings, options: &Settings, run: &Run) -> Result<Box<dyn RowSource>> {
        Ok(Box::new(PgSource::open(settings, options, run).await?))
    }

    async fn open_target(&self, settings: &Settings, run: &Run) -> Result<Box<dyn RowTarget>> {
        Ok(Box::new(PgTarget::open(settings, run).await?))
    }

    fn script(&self) -> Option<&'static dyn Script> {
        Some(&change::PgScript)
    }

    async fn drop_scratch(&self, settings: &Settings, run: &Run) -> Result<()> {
        target::drop_scratch(settings, run).await
    }

    async fn open_dump(&self, settings: &Settings, options: &Settings, with_rows: bool, run: &Run) -> Result<Box<dyn Dump>> {
        Ok(Box::new(PgDump::open(settings, options, with_rows, self.places(), run).await?))
    }

    fn inspector(&self, format: DumpFormat) -> Box<dyn Inspector> {
        match format {
            DumpFormat::PgCustom => Box::new(inspect::ArchiveInspector::new()),
            DumpFormat::PlainSql | DumpFormat::SqliteFile | DumpFormat::MongoArchive | DumpFormat::Snapshot => {
                Box::new(inspect::ScriptInspector::default())
            }
        }
    }

    fn recognise(&self, head: &[u8]) -> Option<DumpFormat> {
        recognise::recognise(head)
    }

    async fn restore(&self, request: RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome> {
        restore::restore(&request, self.places(), run).await
    }
}
