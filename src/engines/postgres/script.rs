//! Runs an SQL script statement by statement over the driver. No client program reads it, so none of psql's commands can run.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    pin::pin,
};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::mpsc;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::{
    connect::failed,
    lexer::{Lexer, Part},
    statement::{Copy, beginning, copy_of},
};
use crate::{
    domain::{events::Progress, run::Run},
    error::{Context, Error, Kind, Result},
};

/// Bytes of a script read at once.
const READ: usize = 256 * 1024;
/// Parts read ahead of the one that runs.
const AHEAD: usize = 16;

/// A script that was read to its end and holds nothing that is refused.
pub struct Script {
    path: PathBuf,
    bytes: u64,
}

/// How a script is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// All or nothing.
    pub single_transaction: bool,
    /// Leave out the setting `transaction_timeout`, which servers before 17 do not know.
    pub old_server: bool,
    /// Go past statements that fail, each with a warning.
    pub go_on: bool,
}

/// Reads a whole script without running it. Errors, naming the line, on psql's own commands (but for `\restrict` and
/// `\unrestrict`, which pg_dump writes as a guard), on COPY from or to files and programs of the server, and on text that ends
/// within a statement.
pub async fn scan(path: PathBuf, run: &Run) -> Result<Script> {
    run.progress(&Progress { stage: "checking the script".into(), ..Progress::default() });
    let cancel = run.cancel.clone();
    let file = path.clone();
    let scanning = tokio::task::spawn_blocking(move || -> Result<u64> {
        let mut lexer = open(&file)?;
        while let Some(part) = lexer.next()? {
            if cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            check(&part)?;
        }
        std::fs::metadata(&file).map(|metadata| metadata.len()).context(Kind::Restore, || format!("reading {}", file.display()))
    });
    let bytes = scanning.await.context(Kind::Internal, || "checking the script".into())??;
    Ok(Script { path, bytes })
}

fn open(path: &Path) -> Result<Lexer<BufReader<File>>> {
    let file = File::open(path).context(Kind::Restore, || format!("opening {}", path.display()))?;
    Ok(Lexer::new(BufReader::with_capacity(READ, file)))
}

fn check(part: &Part) -> Result<()> {
    let refuse =
        |line: u64, what: String, hint: &str| Err(Error::new(Kind::Restore, format!("line {line}: {what}; nothing was run")).hint(hint));
    match part {
        Part::Meta { line, command } => {
            let name = command.split_whitespace().next().unwrap_or("\\");
            match name {
                "\\restrict" | "\\unrestrict" => Ok(()),
                "\\c" | "\\connect" => refuse(
                    *line,
                    format!("'{name}' would leave the chosen database"),
                    "remove the line, or dump each database on its own without --create",
                ),
                _ => refuse(*line, format!("'{name}' is a command of psql, not SQL"), "remove the line; commands of psql are never run"),
            }
        }
        Part::Statement { line, sql } => match copy_of(sql) {
            Some(Copy::File) => refuse(
                *line,
                format!("'{}' uses a file on the server", beginning(sql)),
                "write the rows into the script, with COPY ... FROM stdin",
            ),
            Some(Copy::Program) => refuse(
                *line,
                format!("'{}' runs a program on the server", beginning(sql)),
                "write the rows into the script, with COPY ... FROM stdin",
            ),
            Some(Copy::ToStdout) => refuse(*line, format!("'{}' writes rows to nowhere", beginning(sql)), "remove the statement"),
            Some(Copy::FromStdin) | None => Ok(()),
        },
        Part::Data(_) | Part::DataEnd => Ok(()),
    }
}

impl Script {
    /// Runs it. Returns the errors that it went past. Errors name the line and the beginning of the statement.
    pub async fn run(&self, client: &Client, manner: Manner, run: &Run) -> Result<Vec<String>> {
        // Names without a schema mean what they mean to psql.
        self.send(client, 0, "RESET search_path").await?;
        if manner.single_transaction {
            self.send(client, 0, "BEGIN").await?;
        }
        let (mut parts, reader) = self.read_ahead();
        let mut past = Vec::new();
        let mut done = 0;
        while let Some(part) = run.until_cancelled(async { Ok(parts.recv().await) }).await? {
            let part = part?;
            let Part::Statement { line, sql } = part else { continue };
            if manner.old_server && sql.trim() == "SET transaction_timeout = 0;" {
                continue;
            }
            let running = async {
                match copy_of(&sql) {
                    Some(Copy::FromStdin) => self.copy(client, line, &sql, &mut parts).await,
                    _ => self.send(client, line, &sql).await,
                }
            };
            match run.until_cancelled(running).await {
                Err(error) if manner.go_on && !manner.single_transaction && !error.is_cancelled() && !client.is_closed() => {
                    past.push(error.to_string())
                }
                other => other?,
            }
            done += sql.len() as u64;
            run.progress(&Progress { stage: "running the script".into(), bytes: done.min(self.bytes), ..Progress::default() });
        }
        reader.await.context(Kind::Internal, || "reading the script".into())?;
        if manner.single_transaction {
            self.send(client, 0, "COMMIT").await?;
        } else {
            self.refuse_open_transaction(client).await?;
        }
        Ok(past)
    }

    /// A thread that splits the file while the server works.
    fn read_ahead(&self) -> (mpsc::Receiver<Result<Part>>, tokio::task::JoinHandle<()>) {
        let (send, receive) = mpsc::channel(AHEAD);
        let path = self.path.clone();
        let reader = tokio::task::spawn_blocking(move || {
            let mut lexer = match open(&path) {
                Ok(lexer) => lexer,
                Err(error) => return drop(send.blocking_send(Err(error))),
            };
            while let Some(part) = lexer.next().transpose() {
                let last = part.is_err();
                // A closed channel: the run has ended early.
                if send.blocking_send(part).is_err() || last {
                    return;
                }
            }
        });
        (receive, reader)
    }

    async fn send(&self, client: &Client, line: u64, sql: &str) -> Result<()> {
        client.batch_execute(sql).await.map_err(|cause| at_line(line, sql, &cause))
    }

    async fn copy(&self, client: &Client, line: u64, sql: &str, parts: &mut mpsc::Receiver<Result<Part>>) -> Result<()> {
        let sink = client.copy_in::<_, Bytes>(sql).await.map_err(|cause| at_line(line, sql, &cause))?;
        let mut sink = pin!(sink);
        while let Some(part) = parts.recv().await {
            match part? {
                Part::Data(data) => sink.send(data.into()).await.map_err(|cause| at_line(line, sql, &cause))?,
                _ => break,
            }
        }
        sink.finish().await.map(drop).map_err(|cause| at_line(line, sql, &cause))
    }

    /// What a transaction that is never committed did would be lost without a word.
    async fn refuse_open_transaction(&self, client: &Client) -> Result<()> {
        // In a simple query of its own, both are the same moment unless a transaction began before.
        let open = match client.simple_query("SELECT pg_catalog.now() <> pg_catalog.statement_timestamp()").await {
            Ok(rows) => rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("t"))),
            Err(cause) if cause.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => true,
            Err(cause) => return Err(failed("ending the script", &cause)),
        };
        if open {
            return Err(
                Error::new(Kind::Restore, "the script ends inside a transaction that it never commits").hint("add the missing COMMIT")
            );
        }
        Ok(())
    }
}

fn at_line(line: u64, sql: &str, cause: &tokio_postgres::Error) -> Error {
    let mut error = failed(format!("line {line}, '{}'", beginning(sql)), cause);
    error.kind = Kind::Restore;
    error
}
