//! Restores, of dumps as the flavours' own programs write them and of scripts from elsewhere.

use mysql_async::prelude::{FromRow, Queryable as _};

use super::{Bench, ENGINE, inspect, plan, plan_into, refused, run as execute, settings};
use crate::support::mysql::Server;

mod hostile;
mod modes;
pub mod round_trip;
mod scripts;
mod select;
mod swap;

async fn rows<T: FromRow + Send + 'static>(server: &Server, database: &str, sql: &str) -> Vec<T> {
    let mut connection = server.connect(database).await;
    let rows = connection.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.disconnect().await.unwrap();
    rows
}

async fn number(server: &Server, database: &str, sql: &str) -> i64 {
    rows::<(i64,)>(server, database, sql).await[0].0
}

/// Names of the server's databases that begin so.
async fn databases(server: &Server, beginning: &str) -> Vec<String> {
    let names: Vec<String> = rows(server, "", "SELECT schema_name FROM information_schema.schemata ORDER BY 1").await;
    names.into_iter().filter(|name| name.starts_with(beginning)).collect()
}

/// What the flavour's own dump program writes.
fn tool_dump(server: &Server, args: &[&str]) -> String {
    let name = if server.flavour.is_mariadb() { "mariadb-dump" } else { "mysqldump" };
    server.tool(server.flavour, name, args)
}
