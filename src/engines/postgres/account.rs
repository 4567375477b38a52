//! What the connecting account may do, next to what a backup needs, and how to make an account that may do just that.

use tokio_postgres::{Client, Row};

use super::{
    connect::{Target, failed, ident},
    server::Facts,
};
use crate::{domain::database::AccountFacts, error::Result};

/// The account that the script makes.
const NAME: &str = "dbsnap_backup";
/// Names shown of a longer list.
const SHOWN: usize = 3;
/// The first release with the role `pg_read_all_data`.
const READ_ALL_DATA: u32 = 14;

/// Roles that come with the server and let their members change something.
const POWERFUL: &[&str] = &[
    "pg_write_all_data",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_maintain",
    "pg_signal_backend",
    "pg_create_subscription",
];

/// One kind of right per row: its name, how many things it is held on or lacks, the first names of them.
const RIGHTS: &str = "
    WITH things AS (
        SELECT c.oid, c.relkind, c.relowner, n.nspname, n.nspname || '.' || c.relname AS name, has_schema_privilege(n.oid, 'USAGE') AS entered
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ), found (kind, name) AS (
        SELECT 'write', name FROM things WHERE entered AND CASE WHEN relkind IN ('r', 'p', 'v', 'f')
            THEN has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(oid, 'INSERT, UPDATE') END
        UNION ALL
        SELECT 'advance', name FROM things WHERE entered AND CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'USAGE, UPDATE') END
        UNION ALL
        SELECT 'own', name FROM things WHERE pg_has_role(relowner, 'USAGE')
        UNION ALL
        SELECT 'create', nspname FROM pg_namespace
         WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND has_schema_privilege(oid, 'CREATE')
        UNION ALL
        SELECT 'member', rolname FROM pg_roles WHERE rolname = ANY ($1) AND pg_has_role(oid, 'MEMBER')
        UNION ALL
        SELECT 'become', rolname FROM pg_roles WHERE rolsuper AND pg_has_role(oid, 'MEMBER')
        UNION ALL
        SELECT DISTINCT 'no usage', nspname FROM things WHERE relkind IN ('r', 'p', 'S') AND NOT entered
        UNION ALL
        SELECT 'no select', name FROM things WHERE entered AND NOT CASE
            WHEN relkind = 'S' THEN has_sequence_privilege(oid, 'SELECT')
            WHEN relkind IN ('r', 'p') THEN has_table_privilege(oid, 'SELECT')
            ELSE true END
        UNION ALL
        SELECT 'hidden', name FROM things WHERE CASE WHEN relkind IN ('r', 'p') THEN row_security_active(oid) END
        UNION ALL
        SELECT 'no large object', oid::text FROM pg_largeobject_metadata
         WHERE current_setting('lo_compat_privileges') = 'off' AND NOT pg_has_role(lomowner, 'USAGE')
           AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a
                WHERE a.privilege_type = 'SELECT' AND CASE a.grantee WHEN 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END)
    )
    SELECT kind, count(*), (array_agg(name ORDER BY name))[1:3] FROM found GROUP BY kind";

/// The role's attributes and its place in the database, and what the database holds that a script must care for.
const ROLE: &str = "
    SELECT r.rolname::text, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls,
           has_database_privilege(current_database(), 'CREATE'),
           pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE'),
           EXISTS (SELECT FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')),
           EXISTS (SELECT FROM pg_largeobject_metadata)
      FROM pg_roles r WHERE r.rolname = current_user";

/// Schemas with the accounts that own something in them, and whether everybody may create objects there.
const SCHEMAS: &str = "
    SELECT n.nspname::text, EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'),
           ARRAY(SELECT DISTINCT pg_get_userbyid(c.relowner)::text FROM pg_class c WHERE c.relnamespace = n.oid ORDER BY 1)
      FROM pg_namespace n WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1 LIMIT 1000";

struct Schema {
    name: String,
    open_to_all: bool,
    owners: Vec<String>,
}

/// Reads what the account of this connection may do in its database.
pub async fn read(client: &Client, target: &Target, server: &Facts) -> Result<AccountFacts> {
    let asking = |cause: tokio_postgres::Error| failed(format!("asking {target} what the account may do"), &cause);
    let role = client.query_one(ROLE, &[]).await.map_err(asking)?;
    let is = |column: usize| role.get::<_, Option<bool>>(column).unwrap_or(false);
    let (secured, large_objects) = (is(8), is(9));
    let schemas = client.query(SCHEMAS, &[]).await.map_err(asking)?;
    let schemas: Vec<_> = schemas.iter().map(|row| Schema { name: row.get(0), open_to_all: row.get(1), owners: row.get(2) }).collect();
    let mut account = AccountFacts {
        user: role.get(0),
        script: script(&target.database, server.version.major, &schemas, secured, large_objects),
        ..AccountFacts::default()
    };
    if is(1) {
        account.beyond_reading.push("everything (superuser)".into());
        return Ok(account);
    }
    let rights = client.query(RIGHTS, &[&POWERFUL]).await.map_err(asking)?;
    let names = |kind: &str| rights.iter().find(|row| row.get::<_, &str>(0) == kind).map(Names::of);
    let attributes = [
        (is(7), "drop or change the database, which it owns"),
        (is(6), "create schemas (CREATE on the database)"),
        (is(2), "create and change roles (CREATEROLE)"),
        (is(3), "create databases (CREATEDB)"),
        (is(4), "copy the whole server and hold its log (REPLICATION)"),
        (is(5) && !secured, "read past row security, which nothing here uses (BYPASSRLS)"),
    ];
    account.beyond_reading = [
        names("write").map(|names| format!("write rows in {}", names.of_many("table", "tables"))),
        names("advance").map(|names| format!("advance {}", names.of_many("sequence", "sequences"))),
        names("own").map(|names| format!("alter and drop {}, which it owns", names.of_many("table or sequence", "tables and sequences"))),
        names("create").map(|names| format!("create objects in {}", names.of_many("schema", "schemas"))),
        names("become").map(|names| format!("act as {}", names.of_many("superuser", "superusers"))),
        names("member").map(|names| format!("act as {}", names.of_many("role", "roles"))),
    ]
    .into_iter()
    .flatten()
    .chain(attributes.into_iter().filter(|(is, _)| *is).map(|(_, right)| right.to_owned()))
    .collect();
    account.missing = [
        names("no usage").map(|names| format!("USAGE on {}", names.of_many("schema", "schemas"))),
        names("no select").map(|names| format!("SELECT on {}", names.of_many("table or sequence", "tables and sequences"))),
        names("hidden").map(|names| format!("BYPASSRLS, because row security hides rows of {}", names.of_many("table", "tables"))),
        names("no large object").map(|names| format!("SELECT on {}", names.of_many("large object", "large objects"))),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(account)
}

/// How many, and the first of them.
struct Names {
    count: i64,
    first: Vec<String>,
}

impl Names {
    fn of(row: &Row) -> Self {
        Self { count: row.get(1), first: row.get(2) }
    }

    fn of_many(&self, one: &str, many: &str) -> String {
        let more = if self.count > SHOWN as i64 { ", ..." } else { "" };
        let first = self.first.join(", ");
        if self.count == 1 { format!("the {one} {first}") } else { format!("{} {many} ({first}{more})", self.count) }
    }
}

/// Statements that make an account which reads everything a backup of the database needs, and nothing else. No name stands
/// in a comment, where a line break in it would end the comment.
fn script(database: &str, server: u32, schemas: &[Schema], secured: bool, large_objects: bool) -> String {
    let mut lines = vec![
        "-- Run this in the database itself, as a superuser,".to_owned(),
        "-- with a password of your own.".to_owned(),
        format!("CREATE ROLE {NAME} LOGIN PASSWORD 'CHANGE_ME';"),
        format!("GRANT CONNECT ON DATABASE {} TO {NAME};", ident(database)),
    ];
    if server >= READ_ALL_DATA {
        lines.push(format!("GRANT pg_read_all_data TO {NAME};"));
    } else {
        lines.push("-- What is there now, and below what its owners will add. Schemas made later need the same.".into());
        for Schema { name, owners, .. } in schemas {
            let name = ident(name);
            lines.push(format!("GRANT USAGE ON SCHEMA {name} TO {NAME};"));
            for things in ["TABLES", "SEQUENCES"] {
                lines.push(format!("GRANT SELECT ON ALL {things} IN SCHEMA {name} TO {NAME};"));
                for owner in owners {
                    let owner = ident(owner);
                    lines.push(format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {name} GRANT SELECT ON {things} TO {NAME};"));
                }
            }
        }
    }
    if secured {
        lines.push("-- Some tables have row security, which would hide rows from the backup.".into());
        lines.push(format!("ALTER ROLE {NAME} BYPASSRLS;"));
    }
    if large_objects {
        lines.push("-- Each large object has grants of its own: run this part again when some were added.".into());
        lines.push(format!(
            "DO $$ DECLARE id oid; BEGIN FOR id IN SELECT oid FROM pg_largeobject_metadata LOOP\n    EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO {NAME}', id);\nEND LOOP; END $$;"
        ));
    }
    if schemas.iter().any(|schema| schema.open_to_all) {
        lines.push(
            "-- Everybody may create objects in these schemas (the default before PostgreSQL 15). This leaves it to the accounts that"
                .into(),
        );
        lines.push("-- own something there: grant it to others that need it before you take it away.".into());
        for Schema { name, owners, .. } in schemas.iter().filter(|schema| schema.open_to_all) {
            let name = ident(name);
            lines.extend(owners.iter().map(|owner| format!("GRANT CREATE ON SCHEMA {name} TO {};", ident(owner))));
            lines.push(format!("REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;"));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_script_are_quoted_and_never_in_a_comment() {
        let schema = Schema { name: "a\"b\n-- c".into(), open_to_all: true, owners: vec!["o'w\nn".into()] };
        let script = script("my \"db\"", 13, &[schema], true, true);
        assert!(script.contains("ON DATABASE \"my \"\"db\"\"\" TO dbsnap_backup;"), "{script}");
        assert!(
            script.contains("ALTER DEFAULT PRIVILEGES FOR ROLE \"o'w\nn\" IN SCHEMA \"a\"\"b\n-- c\" GRANT SELECT ON TABLES"),
            "{script}"
        );
        let named = script
            .lines()
            .filter(|line| line.starts_with("-- ") && !line.starts_with("-- c\"") && (line.contains("my") || line.contains("o'w")));
        assert_eq!(named.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn lists_show_their_first_names() {
        let names = |count, first: &[&str]| Names { count, first: first.iter().map(|name| (*name).to_owned()).collect() };
        assert_eq!(names(1, &["a"]).of_many("table", "tables"), "the table a");
        assert_eq!(names(3, &["a", "b", "c"]).of_many("table", "tables"), "3 tables (a, b, c)");
        assert_eq!(names(9, &["a", "b", "c"]).of_many("table", "tables"), "9 tables (a, b, c, ...)");
    }
}
