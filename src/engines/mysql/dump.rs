//! A dump by mysqldump or mariadb-dump.

use async_trait::async_trait;

use super::{
    connect::Target,
    server::Server,
    tools::{Places, Tool},
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        database::Settings,
        run::Run,
        stream::ByteSender,
        time::Moment,
    },
    engines::{Dump, DumpFacts},
    error::{Error, Kind, Result},
};

/// An open dump.
pub struct MysqlDump {
    target: Target,
    tool: Tool,
    facts: DumpFacts,
}

impl MysqlDump {
    pub async fn open(settings: &Settings, _options: &Settings, places: Places, run: &Run) -> Result<Self> {
        let target = Target::open(settings, run).await?;
        let mut connection = target.connect(run).await?;
        let server = Server::read(&mut connection, &target).await?;
        let tool = places.to_dump(server.flavour, server.version, run).await?;
        let facts = DumpFacts {
            moment: Moment::now(),
            server_version: server.to_string(),
            tool_version: Some(tool.to_string()),
            size: None,
            tables: None,
            counts: None,
            warnings: Vec::new(),
        };
        Ok(Self { target, tool, facts })
    }
}

#[async_trait]
impl Dump for MysqlDump {
    fn facts(&self) -> &DumpFacts {
        &self.facts
    }

    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::PlainSql)]
    }

    async fn write(&mut self, _part: ArtifactKind, out: ByteSender, run: &Run) -> Result<()> {
        let program = self
            .target
            .program(&self.tool, run)?
            .args(["--single-transaction", "--quick", "--extended-insert", "--routines", "--triggers", "--events", "--hex-blob"])
            .args(["--no-tablespaces", "--skip-lock-tables", "--skip-add-locks", "--"])
            .arg(self.target.database()?)
            .stdout();
        let mut child = program.spawn(run)?;
        match child.send_to(&out, run).await {
            Ok(0) => Err(Error::new(Kind::Backup, format!("the dump of {} came out empty", self.target.address))),
            Ok(_) => child.success(run).await,
            Err(error) => {
                child.kill().await;
                Err(error)
            }
        }
    }
}
