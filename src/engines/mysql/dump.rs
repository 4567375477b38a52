//! A dump: mysqldump or mariadb-dump in a transaction of its own, and beside it our own reader for FLOAT values.

use async_trait::async_trait;
use bytes::Bytes;
use mysql_async::Conn;

use super::{
    account::Account,
    arguments::Arguments,
    catalogue::{self, Kind as TableKind, Scope, Table},
    connect::Target,
    floats::{self, Floats},
    instant,
    patterns::Choice,
    server::Server,
    source::{MysqlSource, Scene},
    text::{Head, send, send_but_tail},
    tools::{Places, Tool},
    watch::{Limits, seconds},
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        database::Settings,
        fields::SettingsExt,
        job::LogLevel,
        run::Run,
        stream::ByteSender,
        time::Moment,
    },
    engines::{Dump, DumpFacts, RowSource, process::Child},
    error::{Error, Kind, Result},
};

/// An open moment of one database, or of all of a server.
pub struct MysqlDump {
    target: Target,
    options: Settings,
    choice: Choice,
    scope: Scope,
    server: Server,
    tool: Tool,
    facts: DumpFacts,
    /// Grants that the account lacks for this dump.
    missing: Vec<String>,
    control: Conn,
    floats: Option<Floats>,
    /// A snapshot of the same instant, where rows are wanted; that of the FLOAT tables is used where there are some.
    reader: Option<Conn>,
    /// What may not be of that instant.
    not_same: Option<String>,
    with_rows: bool,
    /// The program, running since the moment; `None` once its output was taken.
    child: Option<Child>,
}

impl MysqlDump {
    pub async fn open(settings: &Settings, options: &Settings, with_rows: bool, places: Places, run: &Run) -> Result<Self> {
        let target = Target::open(settings, run).await?;
        let all = options.flag("allDatabases");
        let mut control = if all { target.connect_to_server(run).await? } else { target.connect(run).await? };
        let opening = async {
            let server = Server::read(&mut control, &target).await?;
            let tool = places.to_dump(server.flavour, server.version, run).await?;
            let choice = Choice::of(options);
            let arguments = Arguments { tool: &tool, server: &server, options, choice: &choice };
            arguments.check()?;
            let scope = if all { Scope::all(&mut control, &target).await? } else { Scope::One(target.database()?.to_owned()) };
            if scope.databases().is_empty() {
                return Err(Error::new(Kind::Database, format!("{} has no database that the account sees", target.address))
                    .hint("create one, or grant SELECT on those that are to be dumped"));
            }
            let everything = catalogue::tables(&mut control, &scope, &target).await?;
            choice.check(&everything, &scope)?;
            let (chosen, left_out): (Vec<Table>, Vec<Table>) = everything.into_iter().partition(|table| choice.takes(table, &scope));

            let mut warnings = catalogue::foreign_tool(&mut control, &server, &tool, &scope, &target).await?;
            warnings.extend(catalogue::not_transactional(&mut control, &chosen, &scope, &target).await?);
            let account = Account::read(&mut control, &target).await?;
            let missing = account.missing_for_dump(&mut control, &arguments, &scope, &target).await?;
            if !missing.is_empty() {
                warnings.push(format!(
                    "the account {} lacks {}: what it may not read is missing from the dump, or the dump fails",
                    account.user,
                    missing.join(", ")
                ));
            }

            let mut float_tables = Vec::new();
            if !options.flag("schemaOnly") {
                float_tables = catalogue::float_tables(&mut control, &scope, &target).await?;
                float_tables.retain(|float| chosen.iter().any(|table| float.is(table)));
            }
            let (late, float_tables): (Vec<_>, Vec<_>) = float_tables.into_iter().partition(|table| table.needs_sequence);
            if !late.is_empty() {
                warnings.push(format!(
                    "FLOAT values are dumped with 6 digits only in {}: a default there draws from a sequence",
                    floats::names(&late, &scope)
                ));
            }

            let ignored: Vec<String> = (left_out.iter().map(|table| format!("{}.{}", table.database, table.name)))
                .chain(float_tables.iter().map(|table| format!("{}.{}", table.database, table.name)))
                .collect();
            let start = || -> Result<Child> {
                let mut program = target.program_without(&tool, &ignored, run)?.args(arguments.whole());
                if scope.is_all() {
                    program = program.arg("--databases");
                }
                program = program.arg("--").args(scope.databases()).stdout().watch(level);
                if let Some(after) = seconds(options, "stallTimeoutSeconds") {
                    program = program.stall(after);
                }
                program.spawn(run)
            };
            let mut not_same = None;
            let (moment, child, floats, reader) = if float_tables.is_empty() && !with_rows {
                (instant::now(&mut control, &target).await?, start()?, None, None)
            } else {
                let mut reader = if all { target.connect_to_server(run).await? } else { target.connect(run).await? };
                let held = instant::hold(&mut control, run).await?;
                instant::begin(&mut reader, &target).await?;
                let moment = instant::now(&mut control, &target).await?;
                let mut child = start()?;
                let same = match held {
                    Ok(()) => {
                        let begun = tokio::time::timeout(instant::LIMIT, child.begun(run)).await;
                        instant::release(&mut control, &target).await?;
                        begun.map_err(|_| format!("the program had not begun after {} s", instant::LIMIT.as_secs())).and_then(|begun| {
                            // Its own failure is told when its output is read.
                            begun.map_err(|error| error.to_string())
                        })
                    }
                    Err(refused) => Err(refused),
                };
                if let Err(why) = &same
                    && with_rows
                {
                    not_same = Some(format!("the rows may be of another instant, by some seconds, than the dump: {why}"));
                }
                if let Err(why) = same
                    && !float_tables.is_empty()
                {
                    warnings.push(format!(
                        "the rows of {} may be of another instant, by some seconds, than the rest: {why}",
                        floats::names(&float_tables, &scope)
                    ));
                }
                match float_tables.is_empty() {
                    true => (moment, child, None, Some(reader)),
                    false => (moment, child, Some(Floats { tables: float_tables, reader }), None),
                }
            };
            let tables: Vec<&Table> = chosen.iter().filter(|table| table.kind == TableKind::Table).collect();
            let facts = DumpFacts {
                moment: Moment(moment),
                server_version: server.to_string(),
                tool_version: Some(tool.to_string()),
                size: Some(tables.iter().map(|table| table.size).sum()),
                tables: Some(tables.len() as u64),
                counts: None,
                warnings,
            };
            Ok((scope, choice, server, tool, missing, facts, floats, reader, not_same, child))
        };
        let (scope, choice, server, tool, missing, facts, floats, reader, not_same, child) = run.until_cancelled(opening).await?;
        let (options, child) = (options.clone(), Some(child));
        Ok(Self { options, target, choice, scope, server, tool, facts, missing, control, floats, reader, not_same, with_rows, child })
    }

    async fn dump(&mut self, out: &ByteSender, run: &Run) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Err(Error::internal("the dump was already written"));
        };
        let limits = Limits::of(&self.options);
        let after = u64::from(self.control.id());
        let arguments = Arguments { tool: &self.tool, server: &self.server, options: &self.options, choice: &self.choice };
        let writing = write(&mut child, self.floats.as_mut(), &arguments, &self.target, &self.scope, out, run);
        let written = tokio::select! {
            written = writing => Ok(written),
            exceeded = limits.enforce(&mut self.control, after, self.scope.databases()) => Err(exceeded),
        };
        let written = match written {
            Ok(written) => written,
            Err(exceeded) => {
                child.kill().await;
                exceeded.end(&mut self.control).await;
                return Err(self.told(exceeded.error));
            }
        };
        let written = match written {
            Ok(end) => child.success(run).await.map(|()| end),
            Err(error) => {
                let words = child.kill().await;
                // What the program said of its own end tells more than that its output was not whole.
                Err(if error.kind == Kind::Backup && !words.is_empty() && !error.retryable {
                    Error::new(Kind::Backup, format!("{} failed: {}", self.tool, words.join("; ")))
                } else {
                    error
                })
            }
        };
        match written {
            Ok(end) => send(out, end).await,
            Err(error) => Err(self.told(error)),
        }
    }

    /// The error with what is known beyond the program's words.
    fn told(&self, error: Error) -> Error {
        if error.is_cancelled() {
            return error;
        }
        let says = |words: &[&str]| words.iter().any(|word| error.context.contains(word));
        if says(&["denied", "privilege"]) && error.hint.is_none() {
            let hint = if self.missing.is_empty() {
                "the account lacks a right: see the script of the connection test".to_owned()
            } else {
                format!("grant {}", self.missing.join(", "))
            };
            return error.hint(hint);
        }
        if says(&["Lost connection", "gone away", "Can't connect", "error: 2013", "shutdown in progress", "watching the statements"]) {
            return self.target.explain(error.retryable());
        }
        error
    }
}

/// Writes the dump up to its end mark, which is returned for when the program has ended well. Without FLOAT tables the
/// program's bytes pass as they are, and nothing is returned.
async fn write(
    child: &mut Child,
    floats: Option<&mut Floats>,
    arguments: &Arguments<'_>,
    target: &Target,
    scope: &Scope,
    out: &ByteSender,
    run: &Run,
) -> Result<Bytes> {
    let head = Head::read(child, run).await?;
    if head.is_empty() {
        return Err(Error::new(Kind::Backup, format!("the dump of {} came out empty", target.address)));
    }
    head.check()?;
    let Some(floats) = floats else {
        send(out, head.all()).await?;
        child.send_to(out, run).await?;
        return Ok(Bytes::new());
    };
    send(out, head.comments).await?;
    floats.begin(arguments, target, scope, out, run).await?;
    let tail = send_but_tail(head.rest, child, out, run).await?;
    let (last, end) = floats::cut_end_mark(&tail)?;
    send(out, last).await?;
    floats.end(arguments, target, scope, out, run).await?;
    Ok(end)
}

/// How a line of the program's standard error is logged.
fn level(line: &str) -> LogLevel {
    let text = line.to_ascii_lowercase();
    if text.contains("warning") {
        LogLevel::Warn
    } else if text.starts_with("mysqldump") || text.starts_with("mariadb-dump") || text.contains("error") {
        LogLevel::Error
    } else {
        LogLevel::Info
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

    async fn source(&mut self, run: &Run) -> Result<Box<dyn RowSource>> {
        let floats = self.floats.take().map(|floats| floats.reader).filter(|_| self.with_rows);
        let reader = self.reader.take().or(floats).ok_or_else(|| Error::internal("the dump was not opened for its rows"))?;
        let scene = Scene {
            target: self.target.clone(),
            server: self.server.clone(),
            scope: self.scope.clone(),
            choice: self.choice.clone(),
            options: self.options.clone(),
        };
        let warnings = self.not_same.take().into_iter().collect();
        Ok(Box::new(MysqlSource::on(reader, scene, self.facts.moment, warnings, run).await?))
    }

    async fn write(&mut self, part: ArtifactKind, out: ByteSender, run: &Run) -> Result<()> {
        match part {
            ArtifactKind::Dump => {
                let doing = format!("dumping {}", self.target.address);
                self.dump(&out, run).await.map_err(|error| if error.is_cancelled() { error } else { error.while_doing(doing) })
            }
            ArtifactKind::Globals | ArtifactKind::Snapshot => Err(Error::internal(format!("MySQL dumps have no {part} part"))),
        }
    }
}
