//! Tables of a database, their columns and keys, as the catalogue has them.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Row};

use super::{
    connect::{failed, ident},
    scope::Scope,
};
use crate::{
    error::Result,
    snapshot::{Class, Column, Key, Table, TableName},
};

/// What is read of a table beside its columns.
pub struct Relation {
    pub oid: u32,
    pub name: TableName,
    pub partitioned: bool,
    /// Of a partition.
    parent: Option<u32>,
    bound: Option<String>,
    split_by: Option<String>,
    foreign: bool,
    /// In scope.
    chosen: bool,
    rows: f64,
    /// Its access method; "" for what has no storage.
    pub storage: String,
    pub file: u32,
    options: BTreeMap<String, String>,
}

/// A table in scope and how its rows are read.
pub struct Held {
    pub oid: u32,
    /// FROM which its rows come, such as `ONLY "public"."t"`.
    pub from: String,
    /// Relations that hold the rows: itself, or its partitions.
    pub leaves: Vec<u32>,
    /// Some of its partitions are not in scope, or are on another server: rows are of `leaves` alone.
    pub partial: bool,
    /// Rows as the last ANALYZE knew.
    pub estimate: Option<u64>,
    pub key: Vec<KeyColumn>,
    /// An index gives the rows in the order of their keys.
    pub ordered: bool,
}

/// How a key column is compared in SQL, just as its part of the key is compared in bytes.
pub struct KeyColumn {
    pub expression: String,
    pub kind: KeyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Integer,
    Uuid,
    Bytes,
    /// Text, compared in the order of its bytes.
    Text,
}

/// Everything of the tables.
pub struct Catalog {
    pub tables: Vec<Table>,
    pub held: BTreeMap<TableName, Held>,
    pub relations: BTreeMap<u32, Relation>,
    /// Of every relation of the database.
    pub own: BTreeMap<u32, TableName>,
    /// Of those in scope: of a partition, the name of the table it is part of.
    pub logical: BTreeMap<u32, TableName>,
    pub warnings: Vec<String>,
}

/// Reads the tables in scope.
pub async fn read(client: &Client, scope: &Scope) -> Result<Catalog> {
    let reading = |cause| failed("reading the tables of the database", &cause);
    let rows = client.query(RELATIONS, &[]).await.map_err(reading)?;
    let own = rows.iter().map(|row| (row.get(0), TableName { schema: row.get(1), name: row.get(2) })).collect();
    let table = |row: &&Row| ["r", "p", "f"].contains(&row.get::<_, &str>(3));
    let relations: BTreeMap<u32, Relation> = rows.iter().filter(table).map(|row| (row.get(0), relation(row, scope))).collect();
    let mut catalog = Catalog { tables: Vec::new(), held: BTreeMap::new(), own, logical: BTreeMap::new(), warnings: Vec::new(), relations };
    for relation in catalog.relations.values().filter(|relation| relation.chosen) {
        catalog.logical.insert(relation.oid, catalog.relations[&top(&catalog.relations, relation.oid)].name.clone());
    }
    for row in rows.iter().filter(|row| ["v", "m", "S"].contains(&row.get::<_, &str>(3)) && scope.has_relation(row.get(0))) {
        catalog.logical.insert(row.get(0), TableName { schema: row.get(1), name: row.get(2) });
    }
    let oids: Vec<u32> = catalog.relations.values().filter(|relation| relation.chosen).map(|relation| relation.oid).collect();
    let mut columns: BTreeMap<u32, Vec<(Column, String)>> = BTreeMap::new();
    for row in &client.query(COLUMNS, &[&oids]).await.map_err(reading)? {
        columns.entry(row.get(0)).or_default().push((column(row), row.get(4)));
    }
    let mut keys: BTreeMap<u32, Row> = BTreeMap::new();
    for row in client.query(KEYS, &[&oids]).await.map_err(reading)? {
        // The primary key comes first, then the shortest.
        keys.entry(row.get(0)).or_insert(row);
    }
    for oid in oids {
        catalog.add(oid, columns.remove(&oid).unwrap_or_default(), keys.get(&oid));
    }
    catalog.tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(catalog)
}

impl Catalog {
    fn add(&mut self, oid: u32, columns: Vec<(Column, String)>, key: Option<&Row>) {
        let relation = &self.relations[&oid];
        if relation.foreign {
            self.warnings.push(format!("the foreign table {} is left out: its rows are on another server", relation.name));
            return;
        }
        if top(&self.relations, oid) != oid {
            return;
        }
        let chosen = self.relations.values().filter(|part| part.chosen);
        let parts: Vec<&Relation> = chosen.filter(|part| part.oid != oid && top(&self.relations, part.oid) == oid).collect();
        let leaves: Vec<&Relation> = if relation.partitioned {
            parts.iter().copied().filter(|part| !part.partitioned && !part.foreign).collect()
        } else {
            vec![relation]
        };
        let mut options = relation.options.clone();
        for part in &parts {
            let (Some(bound), Some(parent)) = (&part.bound, part.parent.and_then(|parent| self.own.get(&parent))) else { continue };
            let split = part.split_by.as_ref().map(|by| format!(" PARTITION BY {by}")).unwrap_or_default();
            options.insert(format!("partition {}", quoted(&part.name)), format!("OF {} {bound}{split}", quoted(parent)));
        }
        if let Some(bound) = &relation.bound {
            options.insert("bound".into(), bound.clone());
        }
        let key_columns = key.map(|row| key_columns(row, &columns)).unwrap_or_default();
        let ordered = key.is_some_and(|row| row.get::<_, bool>(2) && row.get::<_, Vec<bool>>(3).iter().all(|plain| *plain))
            && key_columns.iter().zip(key.iter().flat_map(|row| row.get::<_, Vec<String>>(1))).all(|(column, name)| {
                column.kind != KeyKind::Text
                    || columns.iter().any(|(known, base)| known.name == name && ["text", "varchar"].contains(&base.as_str()))
            });
        let beneath = self.relations.values().filter(|part| !part.partitioned && is_beneath(&self.relations, part.oid, oid)).count();
        let known: f64 = leaves.iter().map(|leaf| leaf.rows).sum();
        let held = Held {
            oid,
            from: format!("{}{}", if relation.partitioned { "" } else { "ONLY " }, quoted(&relation.name)),
            leaves: leaves.iter().map(|leaf| leaf.oid).collect(),
            partial: relation.partitioned && beneath > leaves.len(),
            estimate: leaves.iter().all(|leaf| leaf.rows >= 0.0).then_some(known as u64),
            key: key_columns,
            ordered,
        };
        let key = key.map_or(Key::Row, |row| Key::Columns { columns: row.get(1) });
        let columns = columns.into_iter().map(|(column, _)| column).collect();
        self.held.insert(relation.name.clone(), held);
        self.tables.push(Table { name: relation.name.clone(), columns, key, definition: String::new(), options });
    }
}

/// The table in scope that a partition's rows count to.
fn top(relations: &BTreeMap<u32, Relation>, oid: u32) -> u32 {
    let mut at = oid;
    while let Some(parent) =
        relations.get(&at).and_then(|relation| relation.parent).filter(|parent| relations.get(parent).is_some_and(|parent| parent.chosen))
    {
        at = parent;
    }
    at
}

/// Whether a relation is a partition of the table, or of one of its partitions.
fn is_beneath(relations: &BTreeMap<u32, Relation>, oid: u32, table: u32) -> bool {
    let mut at = relations.get(&oid).and_then(|relation| relation.parent);
    while let Some(parent) = at {
        if parent == table {
            return true;
        }
        at = relations.get(&parent).and_then(|relation| relation.parent);
    }
    false
}

fn relation(row: &Row, scope: &Scope) -> Relation {
    let kind: &str = row.get(3);
    let mut options = BTreeMap::new();
    let named: [(&str, Option<String>); 7] = [
        ("comment", row.get(4)),
        ("partition by", row.get(5)),
        ("with", row.get(6)),
        ("inherits", row.get(7)),
        ("persistence", row.get(8)),
        ("row security", row.get(9)),
        ("access method", row.get::<_, Option<String>>(10).filter(|method| method != "heap")),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    }
    Relation {
        oid: row.get(0),
        name: TableName { schema: row.get(1), name: row.get(2) },
        partitioned: kind == "p",
        parent: row.get(11),
        bound: row.get(12),
        split_by: row.get(5),
        foreign: kind == "f",
        chosen: scope.has_relation(row.get(0)),
        rows: row.get(13),
        storage: row.get::<_, Option<String>>(10).unwrap_or_default(),
        file: row.get::<_, Option<u32>>(14).unwrap_or(0),
        options,
    }
}

fn column(row: &Row) -> Column {
    let generated = row.get::<_, &str>(7);
    let expression: Option<String> = row.get(6);
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    let identity = match row.get::<_, &str>(8) {
        "a" => Some("ALWAYS".to_owned()),
        "d" => Some("BY DEFAULT".to_owned()),
        _ => None,
    };
    let kind = (generated == "v").then(|| "virtual".to_owned());
    let named: [(&str, Option<String>); 5] =
        [("identity", identity), ("generated", kind), ("collation", row.get(9)), ("comment", row.get(10)), ("storage", row.get(11))];
    for (name, value) in named {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    }
    let (default, generated) = if generated.is_empty() { (expression, None) } else { (None, expression) };
    Column {
        name: row.get(1),
        type_name: row.get(2),
        class: class(row.get(3), row.get(4)),
        nullable: !row.get::<_, bool>(5),
        default,
        generated,
        options,
    }
}

/// The class of a base type: `kind` is `e` for enumerations, `b` for types that come with the server.
fn class(kind: &str, name: &str) -> Class {
    match (kind, name) {
        ("e", _) | (_, "citext") => Class::Text,
        ("b", "int2" | "int4" | "int8" | "oid") => Class::Integer,
        ("b", "numeric") => Class::Decimal,
        ("b", "float4" | "float8") => Class::Float,
        ("b", "bool") => Class::Boolean,
        ("b", "text" | "varchar" | "bpchar" | "name") => Class::Text,
        ("b", "bytea") => Class::Bytes,
        ("b", "uuid") => Class::Uuid,
        ("b", "date") => Class::Date,
        ("b", "time" | "timetz") => Class::Time,
        ("b", "timestamp") => Class::Timestamp,
        ("b", "timestamptz") => Class::Instant,
        ("b", "json" | "jsonb") => Class::Json,
        _ => Class::Other,
    }
}

fn key_columns(row: &Row, columns: &[(Column, String)]) -> Vec<KeyColumn> {
    let names: Vec<String> = row.get(1);
    let collations: Vec<Option<String>> = row.get(4);
    let bytewise: Vec<bool> = row.get(3);
    let one = |(at, name): (usize, &String)| {
        let (class, base) = columns.iter().find(|(column, _)| column.name == *name).map(|(column, base)| (column.class, base.as_str()))?;
        let quoted = ident(name);
        Some(match class {
            Class::Integer => KeyColumn { expression: quoted, kind: KeyKind::Integer },
            Class::Uuid => KeyColumn { expression: quoted, kind: KeyKind::Uuid },
            Class::Bytes => KeyColumn { expression: quoted, kind: KeyKind::Bytes },
            // The index's own collation, so that the index is used.
            Class::Text if bytewise[at] && ["text", "varchar"].contains(&base) => KeyColumn {
                expression: collations[at].as_ref().map_or(quoted.clone(), |collation| format!("{quoted} COLLATE {collation}")),
                kind: KeyKind::Text,
            },
            // concat writes every type as COPY does.
            _ => KeyColumn { expression: format!("concat({quoted}) COLLATE \"C\""), kind: KeyKind::Text },
        })
    };
    names.iter().enumerate().filter_map(one).collect()
}

/// `"schema"."name"`.
pub fn quoted(name: &TableName) -> String {
    name.schema.as_ref().map_or_else(|| ident(&name.name), |schema| format!("{}.{}", ident(schema), ident(&name.name)))
}

/// Every relation that stands in its own name: number, schema, name, kind; then what only tables have: comment, partition
/// key, storage parameters, parents by inheritance, persistence, row security, access method, the table it is a partition
/// of, its bound, rows as last counted, file.
const RELATIONS: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, obj_description(c.oid, 'pg_class'),
           CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END, array_to_string(c.reloptions, ', '),
           CASE WHEN NOT c.relispartition THEN (SELECT string_agg(format('%I.%I', pn.nspname, p.relname), ', ' ORDER BY i.inhseqno)
              FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid) END,
           CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
           CASE WHEN c.relforcerowsecurity THEN CASE WHEN c.relrowsecurity THEN 'forced' ELSE 'forced when enabled' END
                WHEN c.relrowsecurity THEN 'enabled' END,
           am.amname::text,
           CASE WHEN c.relispartition THEN (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid) END,
           pg_get_expr(c.relpartbound, c.oid), c.reltuples::float8, pg_relation_filenode(c.oid)::oid
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')";

/// Columns of the tables $1: table, name, type, kind and name of the base type, not null, expression, generated, identity,
/// collation where it is another than the type's, comment, storage where it is another than the type's.
const COLUMNS: &str = "
    WITH RECURSIVE base (type, base) AS (
        SELECT oid, oid FROM pg_type WHERE typtype <> 'd'
        UNION ALL
        SELECT t.oid, b.base FROM pg_type t JOIN base b ON b.type = t.typbasetype WHERE t.typtype = 'd'
    )
    SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod),
           CASE WHEN b.typtype = 'e' THEN 'e' WHEN b.typnamespace = 'pg_catalog'::regnamespace THEN 'b' ELSE '' END, b.typname::text,
           a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated::text, a.attidentity::text,
           CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname)
              FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END,
           col_description(a.attrelid, a.attnum),
           CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN base ON base.type = t.oid JOIN pg_type b ON b.oid = base.base
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

/// Unique indexes of the tables $1 that can be keys, the best first: table, columns, whether it orders all of them upwards,
/// whether it orders each by its bytes, and the collation of each where it is not the database's.
const KEYS: &str = "
    WITH database AS (
        SELECT pg_encoding_to_char(encoding) IN ('UTF8', 'SQL_ASCII') AS bytewise,
               CASE COALESCE(to_jsonb(d) ->> 'datlocprovider', 'c') WHEN 'c' THEN datcollate IN ('C', 'POSIX') WHEN 'b' THEN true ELSE false END AS plain
          FROM pg_database d WHERE datname = current_database()
    )
    SELECT i.indrelid, array_agg(a.attname::text ORDER BY k.n), bool_and(o.opcdefault AND k.option = 0 AND am.amname = 'btree'),
           array_agg(k.coll = 0 OR database.bytewise AND (k.coll = 100 AND database.plain OR k.coll <> 100 AND (co.collprovider = 'b'
               OR co.collname IN ('C', 'POSIX', 'ucs_basic') AND co.collnamespace = 'pg_catalog'::regnamespace)) ORDER BY k.n),
           array_agg(CASE WHEN k.coll NOT IN (0, 100) THEN format('%I.%I', cn.nspname, co.collname) END ORDER BY k.n)
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam CROSS JOIN database
     CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[], i.indoption::int2[], i.indcollation::oid[])
           WITH ORDINALITY AS k (att, class, option, coll, n)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att
      JOIN pg_opclass o ON o.oid = k.class
      LEFT JOIN pg_collation co ON co.oid = k.coll LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
     WHERE i.indrelid = ANY ($1) AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND k.n <= i.indnkeyatts
     GROUP BY i.indrelid, i.indexrelid, i.indisprimary, c.relname
    HAVING bool_and(a.attnotnull AND a.attgenerated = '')
     ORDER BY i.indrelid, i.indisprimary DESC, count(*), c.relname";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_class_of_their_text() {
        for (kind, name, expect) in [
            ("b", "int8", Class::Integer),
            ("e", "mood", Class::Text),
            ("", "citext", Class::Text),
            ("", "int4", Class::Other),
            ("b", "timetz", Class::Time),
            ("b", "_int4", Class::Other),
        ] {
            assert_eq!(class(kind, name), expect, "{name}");
        }
    }
}
