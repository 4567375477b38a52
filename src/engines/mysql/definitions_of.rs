//! The statements that a server writes for the things in one of its databases.

use std::collections::BTreeMap;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    connect::{Target, failed, ident},
    record::{Record, record, records},
};
use crate::{
    error::Result,
    snapshot::{Object, ObjectKind, TableName},
};

/// Reads the statements of one database. The connection is left in it.
pub struct Statements<'a> {
    connection: &'a mut Conn,
    target: &'a Target,
    database: &'a str,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl<'a> Statements<'a> {
    /// Goes into the database: a server leaves its name out of statements about it then.
    pub async fn of(connection: &'a mut Conn, target: &'a Target, database: &'a str) -> Result<Self> {
        let chosen = connection.query_drop(format!("USE {}", ident(database))).await;
        chosen.map_err(|cause| target.explain(failed(format!("choosing the database {database}"), cause)))?;
        Ok(Self { connection, target, database, warnings: Vec::new() })
    }

    async fn show(&mut self, what: &str, name: &str) -> Result<Record> {
        let row = record(self.connection, &format!("SHOW CREATE {what} {}", ident(name))).await;
        row.map_err(|failure| self.target.explain(failure.while_doing(format!("reading the definition of {}.{name}", self.database))))
    }

    async fn list(&mut self, sql: &str) -> Result<Vec<Record>> {
        let rows = records(self.connection, sql).await;
        rows.map_err(|failure| self.target.explain(failure.while_doing(format!("reading the definitions of {}", self.database))))
    }

    /// The statement, and a warning where the account may not read it.
    fn text(&mut self, what: &str, name: &str, row: &Record, at: usize) -> String {
        row.optional(at).unwrap_or_else(|| {
            self.warnings.push(format!("the account may not read the definition of the {what} {name}: it is not kept"));
            String::new()
        })
    }

    pub async fn table(&mut self, name: &str) -> Result<String> {
        Ok(self.show("TABLE", name).await?.owned(1))
    }

    pub async fn view(&mut self, name: &str) -> Result<Object> {
        let row = self.show("VIEW", name).await?;
        let text = self.text("view", name, &row, 1);
        Ok(object(ObjectKind::View, None, name, text, &[("character set", row.text(2)), ("collation", row.text(3))]))
    }

    /// Of MariaDB.
    pub async fn sequence(&mut self, name: &str) -> Result<Object> {
        let row = self.show("SEQUENCE", name).await?;
        let value = self.list(&format!("SELECT next_not_cached_value FROM {}", ident(name))).await?;
        let value = value.first().map(|row| row.owned(0)).unwrap_or_default();
        Ok(object(ObjectKind::Sequence, None, name, row.owned(1), &[("value", &value)]))
    }

    pub async fn triggers(&mut self) -> Result<Vec<Object>> {
        let rows = self
            .list(
                "SELECT trigger_name, event_object_table, action_order FROM information_schema.triggers
                  WHERE trigger_schema = DATABASE() ORDER BY trigger_name",
            )
            .await?;
        let mut triggers = Vec::new();
        for row in rows {
            let shown = self.show("TRIGGER", row.text(0)).await?;
            let text = self.text("trigger", row.text(0), &shown, 2);
            let options = [("sql mode", shown.text(1)), ("collation", shown.text(4)), ("order", row.text(2))];
            triggers.push(object(ObjectKind::Trigger, Some(row.text(1)), row.text(0), text, &options));
        }
        Ok(triggers)
    }

    pub async fn routines(&mut self) -> Result<Vec<Object>> {
        let rows = self
            .list(
                "SELECT r.routine_name, r.routine_type, (SELECT GROUP_CONCAT(p.dtd_identifier ORDER BY p.ordinal_position SEPARATOR ', ')
                        FROM information_schema.parameters p WHERE p.specific_schema = r.routine_schema AND p.specific_name = r.specific_name
                         AND p.routine_type = r.routine_type AND p.ordinal_position > 0)
                   FROM information_schema.routines r WHERE r.routine_schema = DATABASE() AND r.routine_type IN ('PROCEDURE', 'FUNCTION')
                  ORDER BY r.routine_type, r.routine_name",
            )
            .await?;
        let mut routines = Vec::new();
        for row in rows {
            let (name, kind) = (row.text(0), row.text(1));
            let shown = self.show(kind, name).await?;
            let text = self.text(&kind.to_ascii_lowercase(), name, &shown, 2);
            let options = [("kind", kind), ("name", name), ("sql mode", shown.text(1)), ("collation", shown.text(4))];
            routines.push(object(ObjectKind::Routine, None, &format!("{name}({})", row.text(2)), text, &options));
        }
        Ok(routines)
    }

    pub async fn events(&mut self) -> Result<Vec<Object>> {
        let rows =
            self.list("SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE() ORDER BY event_name").await?;
        let mut events = Vec::new();
        for row in rows {
            let shown = self.show("EVENT", row.text(0)).await?;
            let text = self.text("event", row.text(0), &shown, 3);
            let options = [("sql mode", shown.text(1)), ("time zone", shown.text(2)), ("collation", shown.text(5))];
            events.push(object(ObjectKind::Event, None, row.text(0), text, &options));
        }
        Ok(events)
    }
}

fn object(kind: ObjectKind, table: Option<&str>, name: &str, definition: String, options: &[(&str, &str)]) -> Object {
    let options: BTreeMap<String, String> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Object {
        kind,
        table: table.map(|table| TableName::new(None, table)),
        name: TableName::new(None, name),
        definition,
        options,
        references: None,
    }
}
