//! Which relations the options of a dump choose, by pg_dump's own rules.

use std::collections::HashSet;

use tokio_postgres::Client;

use super::connect::failed;
use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::Result,
};

/// Chosen relations and schemas.
pub struct Scope {
    /// Object identifiers of tables, partitions, views, sequences and the like.
    relations: HashSet<u32>,
    schemas: HashSet<u32>,
    /// Tables are named one by one: then nothing else is dumped.
    tables_alone: bool,
    /// Schemas are named: then nothing that belongs to none of them is dumped.
    schemas_alone: bool,
}

/// A pattern list as two lists of regular expressions: of the schema (NULL: whichever the search path shows) and the name.
type Expressions = (Vec<Option<String>>, Vec<String>);

/// Every name is qualified: this runs under the account's own search path, which decides what an unqualified pattern means.
const RELATIONS: &str = "
    WITH seen AS (
        SELECT c.oid, n.oid AS schema, n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid) AS visible
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,S,f}'::pg_catalog.\"char\"[])
    )
    SELECT oid, schema,
           EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS p (s, t)
                    WHERE relname OPERATOR(pg_catalog.~) p.t AND CASE WHEN p.s IS NULL THEN visible ELSE nspname OPERATOR(pg_catalog.~) p.s END),
           EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.text[])) AS p (s, t)
                    WHERE relname OPERATOR(pg_catalog.~) p.t AND CASE WHEN p.s IS NULL THEN visible ELSE nspname OPERATOR(pg_catalog.~) p.s END)
      FROM seen";

const SCHEMAS: &str = "
    SELECT oid, EXISTS (SELECT FROM pg_catalog.unnest($1::pg_catalog.text[]) p WHERE nspname OPERATOR(pg_catalog.~) p),
                EXISTS (SELECT FROM pg_catalog.unnest($2::pg_catalog.text[]) p WHERE nspname OPERATOR(pg_catalog.~) p)
      FROM pg_catalog.pg_namespace
     WHERE nspname OPERATOR(pg_catalog.<>) 'information_schema' AND nspname OPERATOR(pg_catalog.!~) '^pg_'";

impl Scope {
    /// Asks the server what the patterns match. The connection's search path is what it was afterwards.
    pub async fn read(client: &Client, options: &Settings) -> Result<Self> {
        let reading = |cause| failed("reading which tables the options choose", &cause);
        let tables = |name: &str| -> Expressions { options.list(name).iter().map(|pattern| table_expressions(pattern)).unzip() };
        let names = |name: &str| -> Vec<String> { options.list(name).iter().map(|pattern| name_expression(pattern)).collect() };
        let (with, without) = (tables("includeTables"), tables("excludeTables"));
        let (schemas_with, schemas_without) = (names("includeSchemas"), names("excludeSchemas"));
        let tables_alone = !with.1.is_empty();
        let schemas_alone = !tables_alone && !schemas_with.is_empty();
        let found = client.query(SCHEMAS, &[&schemas_with, &schemas_without]).await.map_err(reading)?;
        let all: HashSet<u32> = found.iter().map(|row| row.get(0)).collect();
        let schemas: HashSet<u32> =
            found.iter().filter(|row| (!schemas_alone || row.get(1)) && !row.get::<_, bool>(2)).map(|row| row.get(0)).collect();
        client.batch_execute("SAVEPOINT scope; SET LOCAL search_path TO DEFAULT").await.map_err(reading)?;
        let found = client.query(RELATIONS, &[&with.0, &with.1, &without.0, &without.1]).await.map_err(reading)?;
        client.batch_execute("ROLLBACK TO SAVEPOINT scope; RELEASE SAVEPOINT scope").await.map_err(reading)?;
        let chosen = |schema: u32, with: bool, without: bool| {
            // Named tables are taken whatever is said of schemas, as pg_dump takes them.
            let wanted = if tables_alone { with && all.contains(&schema) } else { schemas.contains(&schema) };
            wanted && !without
        };
        let relations = found.iter().filter(|row| chosen(row.get(1), row.get(2), row.get(3))).map(|row| row.get(0)).collect();
        Ok(Self { relations, schemas, tables_alone, schemas_alone })
    }

    pub fn has_relation(&self, oid: u32) -> bool {
        self.relations.contains(&oid)
    }

    /// True for things of a schema that are no relations, such as types and routines.
    pub fn has_schema(&self, oid: u32) -> bool {
        !self.tables_alone && self.schemas.contains(&oid)
    }

    /// True for things of no schema, such as extensions.
    pub fn has_the_rest(&self) -> bool {
        !self.tables_alone && !self.schemas_alone
    }
}

/// The expressions of `table` or `schema.table`.
fn table_expressions(pattern: &str) -> (Option<String>, String) {
    let mut parts = expressions(pattern, true);
    let name = parts.pop().unwrap_or_default();
    (parts.pop(), name)
}

fn name_expression(pattern: &str) -> String {
    expressions(pattern, false).pop().unwrap_or_default()
}

/// The parts of a pattern as regular expressions, just as psql and pg_dump make them (`patternToSQLRegex`).
fn expressions(pattern: &str, dots: bool) -> Vec<String> {
    let mut parts = vec![String::from("^(")];
    let mut quoted = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(part) = parts.last_mut() else { break };
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => quoted = !quoted,
            '*' if !quoted => part.push_str(".*"),
            '?' if !quoted => part.push('.'),
            '.' if !quoted && dots => {
                part.push_str(")$");
                parts.push("^(".into());
            }
            '$' => part.push_str("\\$"),
            c if quoted && "|*+?()[]{}.^\\".contains(c) => part.extend(['\\', c]),
            '[' if chars.peek() == Some(&']') => part.push_str("\\["),
            c if !quoted => part.push(c.to_ascii_lowercase()),
            c => part.push(c),
        }
    }
    if let Some(part) = parts.last_mut() {
        part.push_str(")$");
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_the_expressions_of_pg_dump() {
        for (pattern, expect) in [
            ("Orders", (None, "^(orders)$")),
            ("sales.*", (Some("^(sales)$"), "^(.*)$")),
            ("\"Odd.\"\"Name\"\"\".t?", (Some("^(Odd\\.\"Name\")$"), "^(t.)$")),
            ("a|b[0-9]", (None, "^(a|b[0-9])$")),
            ("int[]$", (None, "^(int\\[]\\$)$")),
            ("db.s.t", (Some("^(s)$"), "^(t)$")),
        ] {
            assert_eq!(table_expressions(pattern), (expect.0.map(str::to_owned), expect.1.to_owned()), "{pattern}");
        }
        assert_eq!(name_expression("Ab.c*"), "^(ab.c.*)$");
    }
}
