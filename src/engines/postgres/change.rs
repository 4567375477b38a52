//! Changes of rows as SQL: the same statements that are run are given to people.

use super::{
    catalog::quoted,
    connect::{ident, literal},
};
use crate::{
    engines::Script,
    error::{Error, Result},
    snapshot::{Cell, Class, Column, Key, Row, RowChange, Table},
};

/// The language of PostgreSQL.
pub struct PgScript;

impl Script for PgScript {
    fn begin(&self, title: &str) -> String {
        let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!(
            "-- {title}\n-- A statement whose row is not as it was expected changes nothing. Triggers fire; a superuser's\n\
             -- SET LOCAL session_replication_role = replica; prevents that, and the checks of foreign keys too.\nBEGIN;\n\
             SET LOCAL DateStyle = 'ISO, YMD';\nSET LOCAL IntervalStyle = 'postgres';\nSET LOCAL extra_float_digits = 3;\n\
             SET LOCAL TimeZone = 'UTC';\nSET LOCAL bytea_output = 'hex';\nSET LOCAL client_encoding = 'UTF8';\nSET LOCAL row_security = off;\n\
             SET LOCAL lc_monetary = 'C';\nSET LOCAL xmloption = 'content';\nSET LOCAL search_path = pg_catalog;\n\
             SET CONSTRAINTS ALL DEFERRED;\n"
        )
    }

    fn change(&self, table: &Table, change: &RowChange) -> Result<String> {
        Ok(match Statements::of(table).change(change)? {
            Some(sql) => format!("{sql};\n"),
            None => String::new(),
        })
    }

    fn end(&self) -> String {
        "COMMIT;\n".to_owned()
    }
}

/// Writes the statements of one table.
pub struct Statements<'a> {
    table: &'a Table,
    name: String,
    /// The name as rows are looked for: without those of tables that inherit from it.
    only: String,
    /// Places of the key's columns among the stored ones; empty without a key.
    key: Vec<usize>,
    columns: String,
    overriding: &'static str,
}

impl<'a> Statements<'a> {
    pub fn of(table: &'a Table) -> Self {
        let key = match &table.key {
            Key::Columns { columns } => columns.iter().filter_map(|name| table.stored().position(|column| column.name == *name)).collect(),
            Key::Row => Vec::new(),
        };
        let name = quoted(&table.name);
        let only = if table.options.contains_key("partition by") { name.clone() } else { format!("ONLY {name}") };
        let always = table.stored().any(|column| column.options.get("identity").is_some_and(|identity| identity == "ALWAYS"));
        let columns = table.stored().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ");
        Self { table, name, only, key, columns, overriding: if always { " OVERRIDING SYSTEM VALUE" } else { "" } }
    }

    /// Places of the key's columns among the stored ones; empty without a key.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    pub fn keyless(&self) -> bool {
        self.key.is_empty()
    }

    /// The guarded statement of a change; `None` where there is nothing to do.
    pub fn change(&self, change: &RowChange) -> Result<Option<String>> {
        Ok(Some(match (&change.before, &change.after) {
            (None, None) => return Err(Error::internal("a change of no row")),
            (before, after) if self.keyless() => return self.recount(before.as_ref(), after.as_ref()),
            (None, Some(after)) => self.insert(after)?,
            (Some(before), None) => format!("DELETE FROM {} WHERE {}", self.only, self.guard(before)?),
            (Some(before), Some(after)) => match self.set(after, |at| before.cells[at] != after.cells[at])? {
                set if set.is_empty() => return Ok(None),
                set => format!("UPDATE {} SET {set} WHERE {}", self.only, self.guard(before)?),
            },
        }))
    }

    /// Inserts the row unless there is one with its key.
    pub fn insert(&self, row: &Row) -> Result<String> {
        Ok(format!(
            "INSERT INTO {} ({}){} SELECT {} WHERE NOT EXISTS (SELECT FROM {} WHERE {})",
            self.name,
            self.columns,
            self.overriding,
            self.values(row)?,
            self.only,
            self.by_key(row)?
        ))
    }

    /// Makes the row with this key what it shall be, whatever it was.
    pub fn overwrite(&self, after: &Row) -> Result<String> {
        Ok(format!("UPDATE {} SET {} WHERE {}", self.only, self.set(after, |at| !self.key.contains(&at))?, self.by_key(after)?))
    }

    /// Removes the row with this key, whatever it is.
    pub fn remove(&self, row: &Row) -> Result<String> {
        Ok(format!("DELETE FROM {} WHERE {}", self.only, self.by_key(row)?))
    }

    /// Counts the rows that are exactly like this one.
    pub fn count(&self, row: &Row) -> Result<String> {
        Ok(format!("SELECT count(*)::text FROM {} WHERE {}", self.only, self.guard(row)?))
    }

    /// Counts the rows with the key of this one.
    pub fn count_key(&self, row: &Row) -> Result<String> {
        Ok(format!("SELECT count(*)::text FROM {} WHERE {}", self.only, self.by_key(row)?))
    }

    /// Brings the number of rows that are alike from what it was to what it shall be.
    fn recount(&self, before: Option<&Row>, after: Option<&Row>) -> Result<Option<String>> {
        let Some(row) = before.or(after) else { return Ok(None) };
        self.recount_from(row, before.map_or(0, |row| row.count), after.map_or(0, |row| row.count))
    }

    /// The same for numbers that are known.
    pub fn recount_from(&self, row: &Row, was: u64, shall: u64) -> Result<Option<String>> {
        let (only, guard) = (&self.only, self.guard(row)?);
        let counted = format!("(SELECT count(*) FROM {only} WHERE {guard}) = {was}");
        Ok(match shall.cmp(&was) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater if self.columns.is_empty() => {
                // A row of no columns has no other form.
                let one = format!("INSERT INTO {} DEFAULT VALUES", self.name);
                Some(vec![one; usize::try_from(shall - was).unwrap_or(0)].join(";\n"))
            }
            std::cmp::Ordering::Greater => Some(format!(
                "INSERT INTO {} ({}){} SELECT {} FROM generate_series(1, {}) WHERE {counted}",
                self.name,
                self.columns,
                self.overriding,
                self.values(row)?,
                shall - was
            )),
            // A row is named by its partition and its place: nothing else tells equal rows apart.
            std::cmp::Ordering::Less => Some(format!(
                "DELETE FROM {only} WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM {only} WHERE {guard} LIMIT {}) AND {counted}",
                was - shall
            )),
        })
    }

    fn set(&self, after: &Row, wanted: impl Fn(usize) -> bool) -> Result<String> {
        let columns = self.table.stored().zip(&after.cells).enumerate().filter(|(at, _)| wanted(*at));
        let set = columns.map(|(_, (column, cell))| Ok(format!("{} = {}", ident(&column.name), value(column, cell)?)));
        Ok(set.collect::<Result<Vec<_>>>()?.join(", "))
    }

    fn values(&self, row: &Row) -> Result<String> {
        let values = self.table.stored().zip(&row.cells).map(|(column, cell)| value(column, cell));
        Ok(values.collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// True of the row with this key, in a way that its index answers.
    fn by_key(&self, row: &Row) -> Result<String> {
        let stored: Vec<&Column> = self.table.stored().collect();
        let parts = self.key.iter().map(|at| Ok(format!("{} = {}", ident(&stored[*at].name), value(stored[*at], &row.cells[*at])?)));
        Ok(parts.collect::<Result<Vec<_>>>()?.join(" AND "))
    }

    /// True of the row that has exactly these values.
    fn guard(&self, row: &Row) -> Result<String> {
        let mut guard: Vec<String> = if self.keyless() { Vec::new() } else { vec![self.by_key(row)?] };
        for (at, (column, cell)) in self.table.stored().zip(&row.cells).enumerate() {
            let exact = exactly(column, cell)?;
            // What the key says already is not said twice.
            if !self.key.contains(&at) || !guard[0].contains(&exact) {
                guard.push(exact);
            }
        }
        Ok(if guard.is_empty() { "true".to_owned() } else { guard.join(" AND ") })
    }
}

/// True where the column has this value, as it is written: 1.0 is not 1.00, and what has no equality is compared too.
fn exactly(column: &Column, cell: &Cell) -> Result<String> {
    let name = ident(&column.name);
    let plain_text = column.type_name == "text" || column.type_name.starts_with("character varying");
    let direct = match column.class {
        Class::Integer | Class::Boolean | Class::Bytes | Class::Uuid | Class::Date | Class::Time | Class::Timestamp | Class::Instant => {
            true
        }
        Class::Text => plain_text && !column.options.contains_key("collation"),
        _ => false,
    };
    let Some(bytes) = cell else {
        // A composite of NULLs is no NULL, although IS NULL says so.
        return Ok(if column.class == Class::Other { format!("num_nulls({name}) = 1") } else { format!("{name} IS NULL") });
    };
    if direct {
        return Ok(format!("{name} = {}", value(column, cell)?));
    }
    let text = text(column, bytes)?;
    Ok(match column.class {
        Class::Decimal | Class::Float | Class::Json => format!("{name}::text = {text}"),
        Class::Text if plain_text => format!("{name} COLLATE \"C\" = {text}"),
        // concat writes every type as it is shown; of NULL it makes nothing.
        _ if bytes.is_empty() => format!("concat({name}) = '' AND num_nulls({name}) = 0"),
        _ => format!("concat({name}) = {text}"),
    })
}

/// A value as a literal that takes the type of where it stands.
fn value(column: &Column, cell: &Cell) -> Result<String> {
    let Some(bytes) = cell else { return Ok("NULL".to_owned()) };
    Ok(match column.class {
        Class::Bytes => literal(&format!("\\x{}", hex::encode(bytes))),
        Class::Integer if !bytes.is_empty() && bytes.strip_prefix(b"-").unwrap_or(bytes).iter().all(u8::is_ascii_digit) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Class::Boolean if &bytes[..] == b"t" => "true".to_owned(),
        Class::Boolean if &bytes[..] == b"f" => "false".to_owned(),
        _ => text(column, bytes)?,
    })
}

fn text(column: &Column, bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::validation(format!("a value of the column {} is no UTF-8 text: it cannot be written as SQL", column.name)))?;
    Ok(literal(text))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::snapshot::{ChangeKind, TableName};

    fn table(columns: &[(&str, Class, &str)], key: &[&str]) -> Table {
        let column = |(name, class, type_name): &(&str, Class, &str)| Column {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            class: *class,
            nullable: true,
            default: None,
            generated: None,
            options: Default::default(),
        };
        let names: Vec<String> = key.iter().map(|&name| name.to_owned()).collect();
        Table {
            name: TableName::new(Some("public"), "o'dd\"t"),
            columns: columns.iter().map(column).collect(),
            key: if key.is_empty() { Key::Row } else { Key::Columns { columns: names } },
            definition: String::new(),
            options: Default::default(),
        }
    }

    fn row(cells: &[Option<&str>], count: u64) -> Option<Row> {
        Some(Row { cells: cells.iter().map(|cell| cell.map(|cell| Bytes::from(cell.to_owned()))).collect(), count })
    }

    fn check(table: &Table, before: Option<Row>, after: Option<Row>, expect: &str) {
        let change = RowChange { kind: ChangeKind::Changed, before, after };
        assert_eq!(PgScript.change(table, &change).unwrap(), expect);
    }

    #[test]
    fn statements_are_guarded_by_every_old_value() {
        let keyed = table(&[("id", Class::Integer, "integer"), ("a", Class::Text, "text"), ("n", Class::Decimal, "numeric")], &["id"]);
        let name = "\"public\".\"o'dd\"\"t\"";
        let before = || row(&[Some("-1"), Some("it's \\"), None], 1);
        let after = || row(&[Some("-1"), Some("it's \\"), Some("1.50")], 1);
        let old = "\"id\" = -1 AND \"a\" = E'it''s \\\\' AND \"n\" IS NULL";
        check(&keyed, before(), after(), &format!("UPDATE ONLY {name} SET \"n\" = '1.50' WHERE {old};\n"));
        check(&keyed, before(), None, &format!("DELETE FROM ONLY {name} WHERE {old};\n"));
        check(&keyed, before(), before(), "");
        let values = "SELECT -1, E'it''s \\\\', '1.50' WHERE NOT EXISTS";
        check(
            &keyed,
            None,
            after(),
            &format!("INSERT INTO {name} (\"id\", \"a\", \"n\") {values} (SELECT FROM ONLY {name} WHERE \"id\" = -1);\n"),
        );
    }

    #[test]
    fn equal_rows_are_counted_and_named_by_their_place() {
        let keyless = table(&[("j", Class::Json, "json"), ("o", Class::Other, "point")], &[]);
        let name = "\"public\".\"o'dd\"\"t\"";
        let guard = "\"j\"::text = '{}' AND num_nulls(\"o\") = 1";
        let counted = |was| format!("(SELECT count(*) FROM ONLY {name} WHERE {guard}) = {was}");
        let cells = [Some("{}"), None];
        check(
            &keyless,
            row(&cells, 3),
            row(&cells, 1),
            &format!(
                "DELETE FROM ONLY {name} WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM ONLY {name} WHERE {guard} LIMIT 2) AND {};\n",
                counted(3)
            ),
        );
        check(
            &keyless,
            None,
            row(&cells, 2),
            &format!("INSERT INTO {name} (\"j\", \"o\") SELECT '{{}}', NULL FROM generate_series(1, 2) WHERE {};\n", counted(0)),
        );
    }
}
