//! MongoDB, by the official driver's cursors: no external tool. A dump is an archive as `mongodump --archive` writes it.

use async_trait::async_trait;

use self::connect::Target;
use super::{Dump, Engine, EngineInfo, Inspector, RestoreOutcome, RestoreRequest, RowSource, RowTarget};
use crate::{
    domain::{
        artifact::DumpFormat,
        database::{Probe, Settings},
        fields::SettingsExt,
        run::Run,
    },
    error::Result,
};

mod accounts;
mod address;
mod archive;
mod catalogue;
mod connect;
mod definition;
mod describe;
mod dump;
mod extjson;
mod faults;
mod fill;
mod hello;
mod info;
mod input;
mod inspect;
mod load;
mod member;
mod metadata;
mod moment;
mod pack;
mod privileges;
mod read;
mod reader;
mod recognise;
mod replace;
mod restore;
mod roles;
mod select;
mod server;
mod session;
mod source;
mod tally;
mod target;
mod uri;
mod waiting;
mod write;

/// The engine.
pub struct Mongodb;

#[async_trait]
impl Engine for Mongodb {
    fn info(&self) -> &'static EngineInfo {
        &info::INFO
    }

    fn settings_from_url(&self, url: &str) -> Result<Settings> {
        uri::settings_from_url(url)
    }

    fn address(&self, settings: &Settings) -> String {
        Target::from_settings(settings).map(|target| target.to_string()).unwrap_or_default()
    }

    async fn probe(&self, settings: &Settings, run: &Run) -> Result<Probe> {
        server::probe(&Target::from_settings(settings)?, run).await
    }

    async fn active_connections(&self, settings: &Settings, run: &Run) -> Result<Option<u32>> {
        server::active_connections(&Target::from_settings(settings)?, run).await
    }

    fn partial(&self, options: &Settings) -> Option<&'static str> {
        match () {
            () if options.flag("schemaOnly") => Some("definitions only"),
            () if ["includeCollections", "excludeCollections"].iter().any(|name| !options.list(name).is_empty()) => {
                Some("chosen collections")
            }
            () => None,
        }
    }

    async fn open_source(&self, settings: &Settings, options: &Settings, run: &Run) -> Result<Box<dyn RowSource>> {
        let mut options = options.clone();
        // Accounts are no rows.
        options.remove("usersAndRoles");
        Ok(Box::new(dump::MongoDump::open(Target::from_settings(settings)?, &options, run).await?.into_source(run).await?))
    }

    async fn open_target(&self, settings: &Settings, run: &Run) -> Result<Box<dyn RowTarget>> {
        Ok(Box::new(target::MongoTarget::open(Target::from_settings(settings)?, run).await?))
    }

    async fn drop_scratch(&self, settings: &Settings, run: &Run) -> Result<()> {
        target::drop_scratch(&Target::from_settings(settings)?, run).await
    }

    async fn open_dump(&self, settings: &Settings, options: &Settings, _with_rows: bool, run: &Run) -> Result<Box<dyn Dump>> {
        Ok(Box::new(dump::MongoDump::open(Target::from_settings(settings)?, options, run).await?))
    }

    fn inspector(&self, _format: DumpFormat) -> Box<dyn Inspector> {
        Box::new(inspect::ArchiveInspector::new())
    }

    fn recognise(&self, head: &[u8]) -> Option<DumpFormat> {
        recognise::recognise(head)
    }

    async fn restore(&self, request: RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome> {
        restore::restore(&request, run).await
    }
}
