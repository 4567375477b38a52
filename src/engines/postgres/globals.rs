//! Roles and tablespaces of a server: pg_dumpall writes them, and those that are missing can be created again.

use std::io::Cursor;

use futures_util::StreamExt;
use tokio_postgres::error::SqlState;

use super::{
    connect::{Target, failed},
    lexer::{Lexer, Part},
    server::Facts,
    statement::beginning,
    tools::Places,
};
use crate::{
    domain::{
        run::Run,
        stream::{ByteSender, ByteStream},
    },
    engines::process::Program,
    error::{Error, Kind, Result},
};

/// The most SQL that roles and tablespaces may take, bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// Sends them as SQL; returns the number of bytes. Only a superuser may read the passwords of roles.
pub async fn dump(target: &Target, superuser: bool, places: Places, out: &ByteSender, run: &Run) -> Result<u64> {
    let client = target.connect(run).await?;
    let server = Facts::read(&client, target).await?;
    drop(client);
    let tool = places.to_dump("pg_dumpall", server.version, run).await?;
    let mut program = Program::new(&tool.path)
        .args(["--globals-only", "--no-password"])
        .arg(format!("--dbname={}", target.conninfo()))
        .arg(format!("--database={}", target.conninfo()))
        .stdout();
    if !superuser {
        program = program.arg("--no-role-passwords");
    }
    let mut child = target.give_to(program, run)?.spawn(run)?;
    match child.send_to(out, run).await {
        Ok(sent) => child.success(run).await.map(|()| sent),
        Err(error) => {
            child.kill().await;
            Err(error)
        }
    }
}

/// Creates the roles and tablespaces that are missing. A role that exists keeps its attributes and its password: what
/// follows about it is left out. Everything that fails becomes a warning; a restore that needs it fails by itself.
pub async fn restore(target: &Target, mut stream: ByteStream, run: &Run, warnings: &mut Vec<String>) -> Result<()> {
    let mut sql = Vec::new();
    while let Some(piece) = run.until_cancelled(async { stream.next().await.transpose() }).await? {
        sql.extend_from_slice(&piece);
        if sql.len() > LIMIT {
            return Err(Error::new(Kind::Restore, "the roles and tablespaces take more than 64 MiB of SQL").hint("restore without them"));
        }
    }
    let client = target.connect(run).await?;
    let mut lexer = Lexer::new(Cursor::new(sql));
    let mut existing: Vec<String> = Vec::new();
    while let Some(part) = lexer.next()? {
        let Part::Statement { sql, .. } = part else { continue };
        let sql = without_comments(&sql);
        if existing.iter().any(|role| sql.starts_with(&format!("ALTER ROLE {role} WITH "))) {
            continue;
        }
        run.check()?;
        match client.batch_execute(sql).await {
            Ok(()) => {}
            Err(cause) if cause.code() == Some(&SqlState::DUPLICATE_OBJECT) => {
                existing.extend(sql.strip_prefix("CREATE ROLE ").map(|role| role.trim_end_matches(';').to_owned()));
            }
            Err(cause) if cause.is_closed() => return Err(failed("restoring roles and tablespaces", &cause)),
            // The text of such a statement may hold a password: only its beginning, up to the name, is repeated.
            Err(cause) => {
                let start: Vec<&str> = sql.split_whitespace().take(3).collect();
                warnings.push(failed(format!("roles and tablespaces: '{}'", beginning(&start.join(" "))), &cause).to_string());
            }
        }
    }
    Ok(())
}

/// A statement from its first word on: pg_dumpall writes headings before.
fn without_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        match sql.strip_prefix("--") {
            Some(comment) => sql = comment.split_once('\n').map_or("", |(_, rest)| rest),
            None => return sql,
        }
    }
}
