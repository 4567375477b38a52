//! A dump: one exported snapshot that stays open, and pg_dump reading from it.

use std::ffi::OsString;

use super::{
    account,
    connect::{Target, failed},
    globals,
    server::Facts,
    session::{Session, begin},
    source::PgSource,
    tools::{Places, Tool},
    watch::{Limits, seconds},
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        database::{AccountFacts, Settings},
        fields::SettingsExt,
        run::Run,
        stream::ByteSender,
        time::Moment,
    },
    engines::{Dump, DumpFacts, RowSource, process::Program},
    error::{Error, Kind, Result},
};
use async_trait::async_trait;

/// An open moment of one database.
pub struct PgDump {
    target: Target,
    options: Settings,
    facts: DumpFacts,
    tool: Tool,
    places: Places,
    superuser: bool,
    /// Holds the exported snapshot: its transaction must outlive pg_dump's start.
    /// Rows are read by it afterwards, if they are asked for.
    exporter: Option<Session>,
    snapshot: String,
}

impl PgDump {
    pub async fn open(settings: &Settings, options: &Settings, with_rows: bool, places: Places, run: &Run) -> Result<Self> {
        arguments(options)?;
        let target = Target::open(settings, run).await?;
        Self::open_on(target.clone(), options, with_rows, places, run).await.map_err(|error| target.explain(error))
    }

    async fn open_on(target: Target, options: &Settings, with_rows: bool, places: Places, run: &Run) -> Result<Self> {
        let exporter = Session::open(&target, run).await?;
        let server = Facts::read(&exporter, &target).await?;
        let tool = places.to_dump("pg_dump", server.version, run).await?;
        let mut warnings: Vec<String> = tool.warning().into_iter().collect();
        let filtered =
            ["includeTables", "excludeTables", "includeSchemas", "excludeSchemas"].iter().any(|list| !options.list(list).is_empty());
        if !filtered && !server.superuser {
            let account = account::read(&exporter, &target, &server).await?;
            warnings.extend(AccountFacts { beyond_reading: Vec::new(), ..account }.warnings());
        }
        if options.flag("globals") && !server.superuser {
            warnings.push(format!("roles are dumped without their passwords: the user {} is no superuser", target.user));
        }
        if with_rows {
            // What is dumped and what is read afterwards must be the same: no table may change its form in between.
            exporter.work(run, begin(&exporter, options)).await?;
        } else {
            let begun = exporter.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
            begun.map_err(|cause| failed(format!("opening a snapshot of {target}"), &cause))?;
        }
        let row = exporter.query_one("SELECT pg_export_snapshot(), (extract(epoch FROM clock_timestamp()) * 1000)::int8", &[]).await;
        let row = row.map_err(|cause| failed(format!("exporting a snapshot of {target}"), &cause))?;
        let facts = DumpFacts {
            moment: Moment(row.get(1)),
            server_version: server.server(),
            tool_version: Some(tool.to_string()),
            size: server.size,
            tables: Some(server.tables),
            counts: None,
            warnings,
        };
        Ok(Self {
            options: options.clone(),
            facts,
            tool,
            places,
            superuser: server.superuser,
            snapshot: row.get(0),
            exporter: Some(exporter),
            target,
        })
    }

    async fn dump(&self, out: &ByteSender, run: &Run) -> Result<u64> {
        let exporter = self.exporter.as_ref().ok_or_else(|| Error::internal("the dump's moment is over"))?;
        // A name of its own lets the watch tell this pg_dump's statements from those of others.
        let name = format!("dbsnap {}", uuid::Uuid::new_v4().simple());
        let program = Program::new(&self.tool.path)
            .args(["--format=custom", "--compress=0", "--no-password"])
            .arg(format!("--snapshot={}", self.snapshot))
            .args(arguments(&self.options)?)
            .arg(format!("--dbname={}", self.target.conninfo()))
            .stdout();
        let mut program = self.target.give_to(program, run)?.env("PGAPPNAME", &name);
        if let Some(after) = seconds(&self.options, "stallTimeoutSeconds") {
            program = program.stall(after);
        }
        // pg_dump waits for its locks by its own option.
        let limits = Limits { lock: None, ..Limits::of(&self.options) };
        let mut child = program.spawn(run)?;
        let sent = tokio::select! {
            sent = child.send_to(out, run) => sent,
            error = limits.enforce(exporter, &name) => Err(error),
        };
        match sent {
            Ok(sent) => child.success(run).await.map(|()| sent).map_err(|error| {
                // pg_dump waits for locks under the server's statement timeout.
                let locked = error.context.contains("LOCK TABLE") && error.context.contains("statement timeout");
                if locked { error.hint("another session holds the lock: end it, or raise the lock timeout") } else { error }
            }),
            Err(error) => {
                child.kill().await;
                Err(error)
            }
        }
    }
}

#[async_trait]
impl Dump for PgDump {
    fn facts(&self) -> &DumpFacts {
        &self.facts
    }

    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        let mut parts = vec![(ArtifactKind::Dump, DumpFormat::PgCustom)];
        if self.options.flag("globals") {
            parts.push((ArtifactKind::Globals, DumpFormat::PlainSql));
        }
        parts
    }

    /// Read by the connection that exported the snapshot: it stands in that very moment, and holds its locks already.
    async fn source(&mut self, run: &Run) -> Result<Box<dyn RowSource>> {
        let session = self.exporter.take().ok_or_else(|| Error::internal("the rows of a dump's moment are read once"))?;
        let server = self.facts.server_version.clone();
        let reading = PgSource::read(session, self.target.clone(), &self.options, server, run).await;
        Ok(Box::new(reading.map_err(|error| self.target.explain(error))?.at(self.facts.moment)))
    }

    async fn write(&mut self, part: ArtifactKind, out: ByteSender, run: &Run) -> Result<()> {
        let sent = match part {
            ArtifactKind::Dump => self.dump(&out, run).await,
            ArtifactKind::Globals => globals::dump(&self.target, self.superuser, self.places, &out, run).await,
            ArtifactKind::Snapshot => Err(Error::internal("PostgreSQL dumps have no snapshot part")),
        };
        match sent.map_err(|error| {
            if error.is_cancelled() { error } else { self.target.explain(error).while_doing(format!("dumping {}", self.target)) }
        })? {
            0 => Err(Error::new(Kind::Backup, format!("the {part} of {} came out empty", self.target))),
            _ => Ok(()),
        }
    }
}

/// What the options mean to pg_dump.
fn arguments(options: &Settings) -> Result<Vec<OsString>> {
    if options.flag("schemaOnly") && options.flag("dataOnly") {
        return Err(Error::validation("a dump cannot be both schema only and data only").hint("choose one, or none for both"));
    }
    let mut arguments: Vec<OsString> = Vec::new();
    for (option, argument) in
        [("schemaOnly", "--schema-only"), ("dataOnly", "--data-only"), ("noOwner", "--no-owner"), ("noPrivileges", "--no-privileges")]
    {
        if options.flag(option) {
            arguments.push(argument.into());
        }
    }
    for (option, argument) in [
        ("includeTables", "--table="),
        ("excludeTables", "--exclude-table="),
        ("includeSchemas", "--schema="),
        ("excludeSchemas", "--exclude-schema="),
    ] {
        for pattern in options.list(option) {
            arguments.push(format!("{argument}{pattern}").into());
        }
    }
    // Said either way, because chosen tables or schemas turn them off in pg_dump.
    let large_objects = options.get("largeObjects").is_none_or(|value| value.as_bool() != Some(false));
    if !large_objects || options.flag("schemaOnly") {
        arguments.push("--no-blobs".into());
    } else if options.list("includeTables").is_empty() && options.list("includeSchemas").is_empty() {
        arguments.push("--blobs".into());
    }
    if let Some(timeout) = seconds(options, "lockTimeoutSeconds") {
        arguments.push(format!("--lock-wait-timeout={}", timeout.as_millis()).into());
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(options: serde_json::Value, expect: &[&str]) {
        assert_eq!(arguments(options.as_object().unwrap()).unwrap(), expect.iter().map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn owners_grants_and_large_objects_are_dumped_unless_turned_off() {
        check(json!({}), &["--blobs"]);
        check(json!({"noOwner": true, "noPrivileges": true, "largeObjects": false}), &["--no-owner", "--no-privileges", "--no-blobs"]);
        check(json!({"lockTimeoutSeconds": 5}), &["--blobs", "--lock-wait-timeout=5000"]);
    }

    #[test]
    fn patterns_are_one_argument_each_and_cannot_be_options() {
        check(json!({"includeTables": ["-h", "a.*"], "excludeSchemas": ["b c"]}), &["--table=-h", "--table=a.*", "--exclude-schema=b c"]);
        assert!(arguments(json!({"schemaOnly": true, "dataOnly": true}).as_object().unwrap()).is_err());
    }
}
