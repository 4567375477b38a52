//! What a database has besides its tables: views, routines, triggers and events, read so that they can be made again.

use mysql_async::{Conn, Row, Value, from_value_opt, prelude::Queryable as _};

use super::{
    connect::{failed, ident, literal},
    place::code,
    statement::Thing,
};
use crate::error::{Error, Kind, Result};

/// One of them.
#[derive(Debug, Clone)]
pub struct Definition {
    pub thing: Thing,
    pub name: String,
    /// For the session that makes it.
    settings: String,
    sql: String,
}

/// Kind of thing, query for the names, SHOW CREATE's word, its columns with the statement and the SQL mode.
const SOURCES: &[(Thing, &str, &str, usize, Option<usize>)] = &[
    (
        Thing::Function,
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION'",
        "FUNCTION",
        2,
        Some(1),
    ),
    (
        Thing::Procedure,
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'",
        "PROCEDURE",
        2,
        Some(1),
    ),
    (
        Thing::Package,
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PACKAGE'",
        "PACKAGE",
        2,
        Some(1),
    ),
    (
        Thing::Package,
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PACKAGE BODY'",
        "PACKAGE BODY",
        2,
        Some(1),
    ),
    (Thing::View, "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE()", "VIEW", 1, None),
    (
        Thing::Trigger,
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY event_object_table, action_timing, event_manipulation, action_order",
        "TRIGGER",
        2,
        Some(1),
    ),
    (Thing::Event, "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE()", "EVENT", 3, Some(1)),
];

/// Reads all of the connection's own database. Errors when the account may not see one of them whole: it could not be put back.
pub async fn read(connection: &mut Conn) -> Result<Vec<Definition>> {
    let mut found = Vec::new();
    for (thing, names, word, statement, mode) in SOURCES {
        let doing = |cause| failed(format!("listing what is to be replaced ({})", word.to_lowercase()), cause);
        let names: Vec<String> = connection.query(*names).await.map_err(doing)?;
        for name in names {
            let doing = format!("reading the definition of {} '{name}'", word.to_lowercase());
            let row: Option<Row> =
                connection.query_first(format!("SHOW CREATE {word} {}", ident(&name))).await.map_err(|cause| failed(&doing, cause))?;
            let text = |place: usize| row.as_ref().and_then(|row| row.as_ref(place)).and_then(text_of);
            let Some(sql) = text(*statement) else {
                return Err(Error::new(Kind::Database, format!("{doing}: the account may not see it, so it could not be put back"))
                    .hint("grant the user SHOW_ROUTINE or SELECT on mysql.proc, or restore into a new database"));
            };
            let mut settings = Vec::new();
            if let Some(mode) = mode.and_then(text) {
                settings.push(format!("sql_mode = {}", literal(&mode)));
            }
            if *thing == Thing::Event
                && let Some(zone) = text(2)
            {
                settings.push(format!("time_zone = {}", literal(&zone)));
            }
            if let Some(collation) = text(if *thing == Thing::View { 3 } else { statement + 2 }) {
                settings.push(format!("collation_connection = {}", literal(&collation)));
            }
            found.push(Definition { thing: *thing, name, settings: settings.join(", "), sql });
        }
    }
    Ok(found)
}

fn text_of(value: &Value) -> Option<String> {
    from_value_opt(value.clone()).ok()
}

impl Definition {
    /// Statements that make it again, for the client of a person.
    pub fn statements(&self) -> Vec<String> {
        let settings = (!self.settings.is_empty()).then(|| format!("SET SESSION {}", self.settings));
        settings.into_iter().chain([self.sql.clone()]).collect()
    }
}

/// Drops these kinds of things from the connection's own database.
pub async fn drop_all(connection: &mut Conn, found: &[Definition], which: impl Fn(Thing) -> bool) -> Result<()> {
    for definition in found.iter().filter(|definition| which(definition.thing)) {
        let word = definition.thing.word();
        connection
            .query_drop(format!("DROP {word} IF EXISTS {}", ident(&definition.name)))
            .await
            .map_err(|cause| failed(format!("dropping {} '{}'", word.to_lowercase(), definition.name), cause))?;
    }
    Ok(())
}

/// Makes them again, those that exist left alone. Views may need others first, so that they are tried until none succeeds.
pub async fn make(connection: &mut Conn, found: &[Definition]) -> Result<()> {
    let mut left: Vec<&Definition> = found.iter().collect();
    loop {
        let (before, mut refused, mut refusal) = (left.len(), Vec::new(), None);
        for definition in left {
            let mut made = Ok(());
            for sql in definition.statements() {
                if made.is_ok() {
                    made = connection.query_drop(sql).await;
                }
            }
            match made {
                // Tables, routines, triggers and events that exist.
                Err(cause) if matches!(code(&cause), Some(1050 | 1304 | 1359 | 1537)) => {}
                Err(cause) => {
                    let doing = format!("making {} '{}' again", definition.thing.word().to_lowercase(), definition.name);
                    refusal = Some(failed(doing, cause));
                    refused.push(definition);
                }
                Ok(()) => {}
            }
        }
        match refusal {
            None => return Ok(()),
            Some(error) if refused.len() == before => return Err(error),
            Some(_) => left = refused,
        }
    }
}
