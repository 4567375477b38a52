//! Making what a schema has and a database has not.

use std::collections::BTreeSet;

use mysql_async::{Conn, Error as DriverError, prelude::Queryable as _};

use super::{
    connect::{Target, failed, ident, literal},
    describe::DATABASE,
    source::Scene,
};
use crate::{
    domain::run::Run,
    engines::insert_order,
    error::{Error, Kind, Result},
    snapshot::{Object, ObjectKind, Schema, TableName},
};

/// A view that names a table or a function which is not there yet.
const MISSING: &[u16] = &[1146, 1305, 1356, 1449];
/// The account may not name another as the definer.
const DEFINER: &[u16] = &[1227, 1449];

/// Runs one statement.
pub async fn execute(connection: &mut Conn, target: &Target, doing: &str, sql: &str) -> Result<()> {
    connection.query_drop(sql).await.map_err(|cause| target.explain(failed(doing, cause)))
}

/// What exists already, made otherwise.
pub fn there_already(present: &Schema, wanted: &Schema) -> Vec<String> {
    let statements = wanted.objects.iter().filter(|object| is_statement(object.kind));
    let others = statements.filter(|object| find(present, object).is_some_and(|other| other.definition != object.definition));
    others
        .map(|object| format!("the {} {} exists already, made otherwise, and is left as it is", object.kind.label(), object.name))
        .collect()
}

/// Kinds that are made by a statement of their own; the others are in the definitions of their tables.
fn is_statement(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Routine | ObjectKind::View | ObjectKind::Trigger | ObjectKind::Event)
}

fn find<'a>(present: &'a Schema, object: &Object) -> Option<&'a Object> {
    let plain = |object: &Object| object.options.get("name").cloned().unwrap_or_else(|| object.name.name.clone());
    let kind = |object: &Object| object.options.get("kind").cloned();
    present.objects.iter().find(|other| other.kind == object.kind && plain(other) == plain(object) && kind(other) == kind(object))
}

pub struct Making<'a> {
    pub connection: &'a mut Conn,
    pub scene: &'a Scene,
    /// The schema as it was.
    pub present: &'a Schema,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Gets a statement for each thing that was made.
    pub undo: &'a mut Vec<String>,
}

impl Making<'_> {
    async fn execute(&mut self, doing: &str, sql: &str) -> Result<()> {
        execute(self.connection, &self.scene.target, doing, sql).await
    }

    /// One statement and nothing behind it, whatever stands in `sql`.
    async fn execute_one(&mut self, doing: &str, sql: &str) -> Result<(), Refused> {
        let refused = |cause: DriverError| {
            let code = if let DriverError::Server(server) = &cause { server.code } else { 0 };
            Refused { code, error: self.scene.target.explain(failed(doing, cause)) }
        };
        self.connection.exec_drop(sql, ()).await.map_err(refused)
    }

    /// The character set of a database that was made for this.
    pub async fn settings(&mut self, wanted: &Schema) -> Result<()> {
        let own = wanted.objects.iter().find(|object| object.kind == ObjectKind::Namespace && object.name.name == DATABASE);
        let word = |name: &str| own.and_then(|object| object.options.get(name)).filter(|word| is_word(word)).cloned();
        let (Some(set), Some(collation)) = (word("character set"), word("collation")) else { return Ok(()) };
        let database = ident(self.scene.target.database()?);
        self.execute("setting the character set", &format!("ALTER DATABASE {database} CHARACTER SET {set} COLLATE {collation}")).await
    }

    /// Sequences, then tables. Returns the tables that were made.
    pub async fn tables(&mut self, wanted: &Schema, run: &Run) -> Result<Vec<TableName>> {
        self.execute("setting the modes", "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', foreign_key_checks = 0")
            .await?;
        for sequence in wanted.objects.iter().filter(|object| object.kind == ObjectKind::Sequence) {
            match find(self.present, sequence) {
                Some(_) => self.notes.push(format!("the sequence {} exists already and was left as it is", sequence.name)),
                None => {
                    self.make("CREATE SEQUENCE", "the sequence", &sequence.name, &sequence.definition).await?;
                    self.undo.push(format!("DROP SEQUENCE {}", self.scene.qualified(&sequence.name)));
                }
            }
        }
        let mut made = Vec::new();
        for name in insert_order(wanted) {
            run.check()?;
            let Some(table) = wanted.tables.iter().find(|table| table.name == name) else { continue };
            match self.present.tables.iter().find(|other| other.name == table.name) {
                Some(other) if other.definition == table.definition => {}
                Some(_) => self.notes.push(format!("the table {name} exists already, made otherwise, and was left as it is")),
                None => {
                    self.make("CREATE TABLE", "the table", &name, &table.definition).await?;
                    self.undo.push(format!("DROP TABLE {}", self.scene.qualified(&name)));
                    made.push(name);
                }
            }
        }
        Ok(made)
    }

    async fn make(&mut self, start: &str, what: &str, name: &TableName, sql: &str) -> Result<()> {
        if !starts(sql, start) {
            return Err(Error::new(Kind::Restore, format!("{what} {name} is not made by a statement that starts with {start}")));
        }
        self.execute_one(&format!("making {what} {name}"), sql).await.map_err(|refused| refused.error)
    }

    /// Views, routines, triggers, events, and where numbers go on.
    pub async fn after_rows(&mut self, wanted: &Schema, made_tables: &BTreeSet<TableName>, run: &Run) -> Result<()> {
        for table in wanted.tables.iter().filter(|table| made_tables.contains(&table.name)) {
            if let Some(number) = table.options.get("auto_increment").and_then(|number| number.parse::<u64>().ok()) {
                let sql = format!("ALTER TABLE {} AUTO_INCREMENT = {number}", self.scene.qualified(&table.name));
                self.execute(&format!("setting the next number of {}", table.name), &sql).await?;
            }
        }
        for sequence in wanted.objects.iter().filter(|object| object.kind == ObjectKind::Sequence) {
            if let Some(value) = sequence.options.get("value").and_then(|value| value.parse::<i64>().ok()) {
                let sql = format!("SELECT SETVAL({}, {value}, 0)", self.scene.qualified(&sequence.name));
                self.execute(&format!("setting the sequence {}", sequence.name), &sql).await?;
            }
        }
        let mut waiting: Vec<&Object> =
            wanted.objects.iter().filter(|object| is_statement(object.kind) && find(self.present, object).is_none()).collect();
        let order = |object: &Object| object.options.get("order").and_then(|order| order.parse().ok()).unwrap_or(0_u32);
        waiting.sort_by_key(|object| (object.kind, order(object)));
        // Views name views, and nothing says which: what cannot be made yet is tried again after the others.
        loop {
            let before = waiting.len();
            let mut left = Vec::new();
            let mut last = None;
            for object in waiting {
                run.check()?;
                match self.object(object).await {
                    Ok(()) => {}
                    Err(refused) if MISSING.contains(&refused.code) => {
                        last = Some(refused.error);
                        left.push(object);
                    }
                    Err(refused) => return Err(refused.error),
                }
            }
            match last {
                None => return Ok(()),
                Some(error) if left.len() == before => return Err(error),
                Some(_) => waiting = left,
            }
        }
    }

    async fn object(&mut self, object: &Object) -> Result<(), Refused> {
        let what = object.kind.label();
        let plain = |error: Error| Refused { code: 0, error };
        if object.definition.is_empty() {
            self.notes.push(format!("the {what} {} is not made: its definition could not be read", object.name));
            return Ok(());
        }
        if !starts(&object.definition, "CREATE ") {
            return Err(plain(Error::new(
                Kind::Restore,
                format!("the {what} {} is not made by a statement that starts with CREATE", object.name),
            )));
        }
        let modes = object.options.get("sql mode").map(String::as_str).unwrap_or_default();
        self.execute("setting the modes", &format!("SET SESSION sql_mode = {}", literal(modes))).await.map_err(plain)?;
        let doing = format!("making the {what} {}", object.name);
        match self.run(object, &doing, &object.definition).await {
            Err(refused) if DEFINER.contains(&refused.code) => match without_definer(&object.definition) {
                Some(sql) => {
                    self.run(object, &doing, &sql).await?;
                    self.notes
                        .push(format!("the {what} {} belongs to the connecting account: its own definer cannot be named", object.name));
                    Ok(())
                }
                None => Err(refused),
            },
            done => done,
        }
    }

    async fn run(&mut self, object: &Object, doing: &str, sql: &str) -> Result<(), Refused> {
        if object.kind == ObjectKind::View {
            return self.execute_one(doing, sql).await;
        }
        // These cannot be prepared.
        self.connection.query_drop(sql).await.map_err(|cause| {
            let code = if let DriverError::Server(server) = &cause { server.code } else { 0 };
            Refused { code, error: self.scene.target.explain(failed(doing, cause)) }
        })
    }
}

/// A statement that the server refused, and its number for that.
struct Refused {
    code: u16,
    error: Error,
}

fn starts(sql: &str, words: &str) -> bool {
    sql.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A definition without the account that it names, as servers write it: DEFINER=`user`@`host`.
fn without_definer(sql: &str) -> Option<String> {
    let start = sql.find("DEFINER=`")?;
    let rest = &sql[start + "DEFINER=".len()..];
    let mut quoted = false;
    let end = rest.find(|c| {
        quoted ^= c == '`';
        c == ' ' && !quoted
    })?;
    Some(format!("{}{}", &sql[..start], &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_taken_out_of_a_definition() {
        let sql = "CREATE ALGORITHM=UNDEFINED DEFINER=`a b``c`@`%` SQL SECURITY DEFINER VIEW `v` AS select 1";
        assert_eq!(without_definer(sql).unwrap(), "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 1");
        assert_eq!(without_definer("CREATE VIEW v AS SELECT 1"), None);
    }
}
