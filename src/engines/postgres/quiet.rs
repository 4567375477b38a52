//! Keeps triggers, rules and foreign keys from acting on rows while they are written, and looks at the foreign keys
//! afterwards.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, error::SqlState};

use super::{
    catalog::quoted,
    connect::{failed, ident},
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
    snapshot::{Table, TableName},
};

/// What is off, and how it is turned on again.
#[derive(Default)]
pub struct Quiet {
    /// The session writes as a replica: no ordinary trigger or rule fires, and no foreign key is checked.
    replica: bool,
    /// Statements that bring back what was changed, in order.
    back: Vec<String>,
    tables: BTreeSet<TableName>,
}

impl Quiet {
    pub async fn open(client: &Client) -> Result<Self> {
        let replica = attempt(client, "SET LOCAL session_replication_role = replica").await?;
        Ok(Self { replica, ..Self::default() })
    }

    /// Makes ready for changes of a table, once.
    pub async fn table(&mut self, client: &Client, table: &Table, run: &Run) -> Result<()> {
        if !self.tables.insert(table.name.clone()) {
            return Ok(());
        }
        let reading = |cause| failed(format!("looking at the triggers of {}", table.name), &cause);
        let name = quoted(&table.name);
        let fire = if self.replica { ["R", "A"] } else { ["O", "A"] };
        let mut quieted = Vec::new();
        for row in client.query(TRIGGERS, &[&name, &fire.as_slice()]).await.map_err(reading)? {
            let (on, what, trigger, state): (String, String, String, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
            let trigger = ident(&trigger);
            let enable = match state.as_str() {
                "R" => "ENABLE REPLICA",
                "A" => "ENABLE ALWAYS",
                _ => "ENABLE",
            };
            if attempt(client, &format!("ALTER TABLE ONLY {on} DISABLE {what} {trigger}")).await? {
                self.back.push(format!("ALTER TABLE ONLY {on} {enable} {what} {trigger}"));
                quieted.push(trigger);
            } else {
                run.warn(format!(
                    "the {} {trigger} of {} fires for these changes: the user may not turn it off",
                    what.to_lowercase(),
                    table.name
                ));
            }
        }
        if !quieted.is_empty() {
            run.info(format!("triggers and rules of {} do not fire for these changes: {}", table.name, quieted.join(", ")));
        }
        if !self.replica {
            // Checked at the end, so that rows may come in any order.
            for row in client.query(STRICT_KEYS, &[&name]).await.map_err(reading)? {
                let (on, key): (String, String) = (row.get(0), row.get(1));
                if attempt(client, &format!("ALTER TABLE {on} ALTER CONSTRAINT {key} DEFERRABLE INITIALLY DEFERRED")).await? {
                    self.back.push(format!("ALTER TABLE {on} ALTER CONSTRAINT {key} NOT DEFERRABLE"));
                }
            }
        }
        Ok(())
    }

    /// Turns on again what was off. Errors when rows refer to rows that are not there.
    pub async fn end(&self, client: &Client) -> Result<()> {
        for sql in &self.back {
            client.batch_execute(sql).await.map_err(|cause| failed("turning triggers on again", &cause))?;
        }
        if !self.replica || self.tables.is_empty() {
            return Ok(());
        }
        let reading = |cause| failed("looking at the foreign keys", &cause);
        let names: Vec<String> = self.tables.iter().map(quoted).collect();
        let mut told = BTreeMap::new();
        for row in client.query(KEYS, &[&names]).await.map_err(reading)? {
            let broken: Vec<String> =
                client.query(row.get::<_, &str>(1), &[]).await.map_err(reading)?.iter().map(|row| row.get(0)).collect();
            if !broken.is_empty() {
                told.insert(row.get::<_, String>(0), broken);
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = told.iter().map(|(key, rows)| format!("{key}: {}", rows.join(", "))).collect();
        Err(Error::new(Kind::Restore, format!("rows would refer to rows that are not there, and nothing was changed: {}", told.join("; ")))
            .hint("restore the rows they refer to as well"))
    }
}

/// False, and nothing done, where the account may not.
async fn attempt(client: &Client, sql: &str) -> Result<bool> {
    match client.batch_execute(&format!("SAVEPOINT quiet; {sql}; RELEASE SAVEPOINT quiet")).await {
        Ok(()) => Ok(true),
        Err(cause) if cause.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let back = client.batch_execute("ROLLBACK TO SAVEPOINT quiet; RELEASE SAVEPOINT quiet").await;
            back.map_err(|cause| failed("going on without a right", &cause))?;
            Ok(false)
        }
        Err(cause) => Err(failed("preparing to write", &cause)),
    }
}

/// Triggers and rules of the table $1 and of its partitions whose state is one of $2.
const TRIGGERS: &str = "
    WITH parts AS (SELECT $1::text::regclass::oid AS oid UNION SELECT relid FROM pg_partition_tree($1::text::regclass))
    SELECT format('%I.%I', n.nspname, c.relname), found.kind, found.name, found.state
      FROM (SELECT tgrelid AS rel, 'TRIGGER' AS kind, tgname::text AS name, tgenabled::text AS state FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL
            SELECT ev_class, 'RULE', rulename, ev_enabled::text FROM pg_rewrite WHERE rulename <> '_RETURN') found
      JOIN parts ON parts.oid = found.rel JOIN pg_class c ON c.oid = found.rel JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE found.state = ANY ($2::text[]) ORDER BY 1, 2, 3";

/// Foreign keys of or to the table $1 that are checked at once.
const STRICT_KEYS: &str = "
    SELECT format('%I.%I', n.nspname, c.relname), quote_ident(k.conname)
      FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT k.condeferrable AND $1::text::regclass IN (k.conrelid, k.confrelid)";

/// Foreign keys of or to the tables $1, and for each the query that finds the first rows without what they refer to.
const KEYS: &str = "
    SELECT format('%s of %I.%I', k.conname, n.nspname, c.relname),
           format('SELECT concat_ws('', '', %s) FROM %s%I.%I c WHERE %s AND NOT EXISTS (SELECT FROM %s%I.%I p WHERE %s) LIMIT 5',
                  string_agg(format('c.%I', a.attname), ', ' ORDER BY o.n), CASE WHEN c.relkind = 'r' THEN 'ONLY ' END, n.nspname, c.relname,
                  string_agg(format('c.%I IS NOT NULL', a.attname), ' AND ' ORDER BY o.n),
                  CASE WHEN p.relkind = 'r' THEN 'ONLY ' END, pn.nspname, p.relname,
                  string_agg(format('p.%I = c.%I', pa.attname, a.attname), ' AND ' ORDER BY o.n))
      FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
     CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS o (att, to_att, n)
      JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.att
      JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = o.to_att
     WHERE k.contype = 'f' AND k.conparentid = 0 AND k.convalidated AND COALESCE((to_jsonb(k) ->> 'conperiod')::bool, false) = false
       AND EXISTS (SELECT FROM unnest($1::text[]) t WHERE t::regclass IN (k.conrelid, k.confrelid))
     GROUP BY k.oid, k.conname, n.nspname, c.relname, c.relkind, pn.nspname, p.relname, p.relkind ORDER BY 1";
