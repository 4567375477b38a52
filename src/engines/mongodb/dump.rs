//! A dump: an archive of raw documents, read by cursors of one moment.

use async_trait::async_trait;

use super::connect::Target;
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        database::Settings,
        run::Run,
        stream::ByteSender,
    },
    engines::{Dump, DumpFacts},
    error::{Error, Result},
};

/// An open moment of one database, or of all.
pub struct MongoDump {
    facts: DumpFacts,
}

impl MongoDump {
    pub async fn open(_target: Target, _options: &Settings, _run: &Run) -> Result<Self> {
        Err(Error::internal("MongoDB is not dumped yet"))
    }
}

#[async_trait]
impl Dump for MongoDump {
    fn facts(&self) -> &DumpFacts {
        &self.facts
    }

    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::MongoArchive)]
    }

    async fn write(&mut self, _part: ArtifactKind, _out: ByteSender, _run: &Run) -> Result<()> {
        Err(Error::internal("MongoDB is not dumped yet"))
    }
}
