//! MySQL and MariaDB, by their own client programs: mysqldump or mariadb-dump, and mysql or mariadb.

use async_trait::async_trait;

use self::{address::Address, tools::Places};
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
mod arguments;
mod catalogue;
mod cells;
mod choose;
mod columns;
mod connect;
mod contents;
mod count;
mod definitions;
mod definitions_of;
mod describe;
mod dialect;
mod dump;
mod floats;
mod grants;
mod info;
mod inspect;
mod instant;
mod lexer;
mod load;
mod making;
mod modes;
mod option_file;
mod patterns;
mod place;
mod plan;
mod probe;
mod recognise;
mod record;
mod restore;
mod rows;
mod script;
mod server;
mod shape;
mod source;
mod statement;
mod swap;
mod target;
mod text;
mod token;
mod tools;
mod version;
mod watch;

/// The engine.
pub struct Mysql {
    /// Look for client programs also where packages install them and in PATH, not only in the folders of a run.
    pub usual_places: bool,
}

impl Mysql {
    fn places(&self) -> Places {
        Places { usual: self.usual_places }
    }
}

#[async_trait]
impl Engine for Mysql {
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
        probe::probe(settings, self.places(), run).await
    }

    async fn active_connections(&self, settings: &Settings, run: &Run) -> Result<Option<u32>> {
        probe::active_connections(settings, run).await
    }

    fn partial(&self, options: &Settings) -> Option<&'static str> {
        match () {
            () if options.flag("schemaOnly") => Some("schema only"),
            () if options.flag("dataOnly") => Some("rows only"),
            () if ["includeTables", "excludeTables"].iter().any(|name| !options.list(name).is_empty()) => Some("chosen tables"),
            () => None,
        }
    }

    async fn open_source(&self, settings: &Settings, options: &Settings, run: &Run) -> Result<Box<dyn RowSource>> {
        Ok(Box::new(source::MysqlSource::open(settings, options, run).await?))
    }

    async fn open_target(&self, settings: &Settings, run: &Run) -> Result<Box<dyn RowTarget>> {
        Ok(Box::new(target::MysqlTarget::open(settings, run).await?))
    }

    fn script(&self) -> Option<&'static dyn Script> {
        Some(&script::MysqlScript)
    }

    async fn drop_scratch(&self, settings: &Settings, run: &Run) -> Result<()> {
        target::drop_scratch(settings, run).await
    }

    async fn open_dump(&self, settings: &Settings, options: &Settings, with_rows: bool, run: &Run) -> Result<Box<dyn Dump>> {
        Ok(Box::new(dump::MysqlDump::open(settings, options, with_rows, self.places(), run).await?))
    }

    fn inspector(&self, _format: DumpFormat) -> Box<dyn Inspector> {
        Box::new(inspect::ScriptInspector::default())
    }

    fn recognise(&self, head: &[u8]) -> Option<DumpFormat> {
        recognise::recognise(head)
    }

    async fn restore(&self, request: RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome> {
        restore::restore(&request, self.places(), run).await
    }
}
