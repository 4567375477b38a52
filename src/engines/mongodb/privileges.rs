//! What the account may do, next to what a backup needs: from `connectionStatus` with its privileges, or from the names
//! of built-in roles where the server tells no privileges.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};

use super::connect::{Server, Target};
use crate::{
    domain::{database::AccountFacts, run::Run},
    error::Result,
};

/// The account that the script makes.
const NAME: &str = "dbsnap_backup";

/// How many names a sentence gives.
const SHOWN: usize = 3;

/// Actions, by <https://www.mongodb.com/docs/manual/reference/privilege-actions/>.
const WRITE: &[&str] = &["insert", "update", "remove", "bypassDocumentValidation"];
const DEFINE: &[&str] = &[
    "createCollection",
    "dropCollection",
    "createIndex",
    "dropIndex",
    "collMod",
    "convertToCapped",
    "renameCollectionSameDB",
    "dropDatabase",
    "reIndex",
    "compact",
    "createSearchIndexes",
    "dropSearchIndex",
];
const ACCOUNTS: &[&str] = &[
    "createUser",
    "dropUser",
    "changePassword",
    "changeCustomData",
    "grantRole",
    "revokeRole",
    "createRole",
    "dropRole",
    "setAuthenticationRestriction",
];
const ADMINISTER: &[&str] = &[
    "addShard",
    "applyOps",
    "closeAllDatabases",
    "enableSharding",
    "fsync",
    "impersonate",
    "killAnyCursor",
    "killAnySession",
    "killop",
    "moveChunk",
    "removeShard",
    "replSetConfigure",
    "replSetReconfig",
    "replSetResizeOplog",
    "replSetStateChange",
    "restartMongod",
    "setFeatureCompatibilityVersion",
    "setParameter",
    "shutdown",
    "splitChunk",
];

/// Built-in roles that only read, and those of them that read every database.
const READING_ROLES: &[&str] = &["read", "readAnyDatabase", "backup", "clusterMonitor"];
const READING_ALL: &[&str] = &["readAnyDatabase", "backup"];
/// Built-in roles that do more.
const OTHER_ROLES: &[(&str, &str)] = &[
    ("readWrite", "write documents, create and drop collections"),
    ("readWriteAnyDatabase", "write documents, create and drop collections in every database"),
    ("dbAdmin", "create, change and drop collections and indexes"),
    ("dbAdminAnyDatabase", "create, change and drop collections and indexes in every database"),
    ("dbOwner", "write documents, create and drop collections, create users and roles"),
    ("userAdmin", "create and change users and roles"),
    ("userAdminAnyDatabase", "create and change users and roles"),
    ("clusterManager", "administer the cluster"),
    ("hostManager", "administer the server"),
    ("clusterAdmin", "administer the cluster"),
    ("restore", "write documents, create and drop collections in every database"),
    ("root", "everything (root)"),
    ("__system", "everything (__system)"),
];

/// Reads what the account may do. `Err` in the result says why that cannot be told.
pub async fn read(server: &Server, target: &Target, run: &Run) -> Result<std::result::Result<AccountFacts, String>> {
    let asking = server.command("admin", doc! { "connectionStatus": 1, "showPrivileges": true });
    let asked = run.until_cancelled(async { Ok(asking.await) }).await?;
    Ok(match asked {
        Ok(status) => judge(&status, target.database.as_deref()),
        Err(cause) => Err(server.failed("what the account may do cannot be told", &cause).context),
    })
}

fn judge(status: &Document, database: Option<&str>) -> std::result::Result<AccountFacts, String> {
    let unknown = || "what the account may do cannot be told: the server answers connectionStatus without users".to_owned();
    let info = status.get_document("authInfo").map_err(|_| unknown())?;
    let list = |name: &str| info.get_array(name).map(|items| items.iter().filter_map(|item| item.as_document()).collect::<Vec<_>>());
    let users = list("authenticatedUsers").map_err(|_| unknown())?;
    let user = users.first().and_then(|user| user.get_str("user").ok()).unwrap_or("(nobody)").to_owned();
    let mut account = AccountFacts { user, script: script(database), ..AccountFacts::default() };
    if users.is_empty() {
        account.beyond_reading.push("everything, like everybody who reaches the server: it asks for no login".to_owned());
        return Ok(account);
    }
    match list("authenticatedUserPrivileges") {
        Ok(privileges) => by_privileges(&mut account, &privileges, database),
        Err(_) => by_roles(&mut account, &list("authenticatedUserRoles").unwrap_or_default(), database)?,
    }
    Ok(account)
}

fn by_privileges(account: &mut AccountFacts, privileges: &[&Document], database: Option<&str>) {
    let privileges: Vec<Privilege> = privileges.iter().map(|privilege| Privilege::read(privilege)).collect();
    let any = |privilege: &&Privilege| privilege.scope == Scope::Everything;
    if privileges.iter().filter(any).any(|privilege| privilege.actions.contains("anyAction")) {
        account.beyond_reading.push("everything (root)".to_owned());
        return;
    }
    let mut beyond = |actions: &[&str], what: &str| {
        let places: BTreeSet<String> = privileges
            .iter()
            .filter(|privilege| !privilege.is_of_a_backup() && actions.iter().any(|action| privilege.actions.contains(*action)))
            .map(|privilege| privilege.scope.to_string())
            .collect();
        if !places.is_empty() {
            account.beyond_reading.push(format!("{what} in {}", some_of(&places)));
        }
    };
    beyond(WRITE, "write documents");
    beyond(DEFINE, "create, change and drop collections and indexes");
    beyond(ACCOUNTS, "create and change users and roles");
    if privileges.iter().any(|privilege| ADMINISTER.iter().any(|action| privilege.actions.contains(*action))) {
        account.beyond_reading.push("administer the server".to_owned());
    }
    let covers = |privilege: &&Privilege| match (&privilege.scope, database) {
        (Scope::Everything | Scope::EveryDatabase, _) => true,
        (Scope::Database(name), Some(database)) => name == database,
        _ => false,
    };
    let place = database.map_or_else(|| "every database".to_owned(), |database| format!("the database {database}"));
    for action in ["find", "listCollections", "listIndexes"] {
        if !privileges.iter().filter(covers).any(|privilege| privilege.actions.contains(action)) {
            account.missing.push(format!("{action} on {place}"));
        }
    }
    let lists = |privilege: &Privilege| {
        matches!(privilege.scope, Scope::Cluster | Scope::Everything) && privilege.actions.contains("listDatabases")
    };
    if database.is_none() && !privileges.iter().any(lists) {
        account.missing.push("listDatabases on the cluster".to_owned());
    }
}

fn by_roles(account: &mut AccountFacts, roles: &[&Document], database: Option<&str>) -> std::result::Result<(), String> {
    let named = |role: &&Document| Some((role.get_str("role").ok()?.to_owned(), role.get_str("db").unwrap_or_default().to_owned()));
    let roles: Vec<(String, String)> = roles.iter().filter_map(named).collect();
    for (role, _) in &roles {
        match OTHER_ROLES.iter().find(|other| other.0 == role) {
            Some((role, what)) => account.beyond_reading.push(format!("{what} (role {role})")),
            None if READING_ROLES.contains(&role.as_str()) => {}
            None => {
                return Err(format!(
                    "what the account may do cannot be told: the server tells no privileges, and the role {role} is not built in"
                ));
            }
        }
    }
    let reads = roles.iter().any(|(role, db)| {
        READING_ALL.contains(&role.as_str()) || Some(db.as_str()) == database || OTHER_ROLES.iter().any(|other| other.0 == role)
    });
    if !reads {
        let role = if database.is_some() { "read" } else { "readAnyDatabase" };
        account.missing.push(format!("the role {role}"));
    }
    Ok(())
}

/// What an administrator runs in mongosh.
fn script(database: Option<&str>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let role = match database {
        Some(database) => format!("{{ role: \"read\", db: {} }}", quoted(database)),
        None => "{ role: \"readAnyDatabase\", db: \"admin\" }".to_owned(),
    };
    [
        "// Run this in mongosh as a user administrator, with a password of your own.".to_owned(),
        "// For backups with users and roles add the role { role: \"backup\", db: \"admin\" }.".to_owned(),
        "db.getSiblingDB(\"admin\").createUser({".to_owned(),
        format!("  user: \"{NAME}\","),
        "  pwd: \"CHANGE_ME\",".to_owned(),
        format!("  roles: [{role}]"),
        "})".to_owned(),
    ]
    .join("\n")
}

fn some_of(places: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = places.iter().take(SHOWN).map(String::as_str).collect();
    let more = if places.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Where a privilege holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Everything,
    Cluster,
    /// Every collection that is not the system's.
    EveryDatabase,
    Database(String),
    Collection(String),
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everything | Self::EveryDatabase => f.write_str("every database"),
            Self::Cluster => f.write_str("the cluster"),
            Self::Database(name) => write!(f, "the database {name}"),
            Self::Collection(name) => write!(f, "the collection {name}"),
        }
    }
}

struct Privilege {
    scope: Scope,
    actions: BTreeSet<String>,
}

impl Privilege {
    fn read(privilege: &Document) -> Self {
        let empty = Document::new();
        let resource = privilege.get_document("resource").unwrap_or(&empty);
        let actions = privilege.get_array("actions").map(Vec::as_slice).unwrap_or_default();
        let actions = actions.iter().filter_map(|action| action.as_str().map(str::to_owned)).collect();
        let text = |name: &str| resource.get_str(name).unwrap_or_default();
        let scope = match (text("db"), text("collection")) {
            _ if resource.get_bool("anyResource").unwrap_or(false) => Scope::Everything,
            _ if resource.get_bool("cluster").unwrap_or(false) => Scope::Cluster,
            // The storage of time series: what matters is granted beside it.
            (db, _) if resource.contains_key("system_buckets") => Scope::Collection(format!("{db}.system.buckets")),
            ("", "") => Scope::EveryDatabase,
            (db, "") => Scope::Database(db.to_owned()),
            (db, collection) => Scope::Collection(format!("{db}.{collection}")),
        };
        Self { scope, actions }
    }

    /// The built-in role `backup` may write notes of its own.
    fn is_of_a_backup(&self) -> bool {
        matches!(&self.scope, Scope::Collection(name) if ["admin.mms.backup", "config.settings"].contains(&name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Bson;

    use super::*;

    fn status(privileges: Bson, roles: Bson) -> Document {
        let mut info = doc! { "authenticatedUsers": [{ "user": "app", "db": "admin" }], "authenticatedUserRoles": roles };
        if privileges != Bson::Null {
            info.insert("authenticatedUserPrivileges", privileges);
        }
        doc! { "authInfo": info, "ok": 1 }
    }

    fn check(privileges: &[Document], database: Option<&str>, beyond: &[&str], missing: &[&str]) {
        let privileges = Bson::Array(privileges.iter().cloned().map(Bson::Document).collect());
        let account = judge(&status(privileges, Bson::Array(Vec::new())), database).unwrap();
        assert_eq!(account.beyond_reading, beyond, "{account:?}");
        assert_eq!(account.missing, missing, "{account:?}");
    }

    #[test]
    fn privileges_are_weighed_against_what_a_backup_needs() {
        let read = ["changeStream", "collStats", "dbHash", "dbStats", "find", "killCursors", "listCollections", "listIndexes"];
        let on =
            |db: &str, collection: &str, actions: &[&str]| doc! { "resource": { "db": db, "collection": collection }, "actions": actions };
        let cluster = |actions: &[&str]| doc! { "resource": { "cluster": true }, "actions": actions };
        check(&[on("shop", "", &read)], Some("shop"), &[], &[]);
        check(&[on("", "", &read), cluster(&["listDatabases"])], None, &[], &[]);
        check(&[on("", "", &read)], None, &[], &["listDatabases on the cluster"]);
        check(
            &[on("other", "", &read), on("shop", "orders", &["find"])],
            Some("shop"),
            &[],
            &["find on the database shop", "listCollections on the database shop", "listIndexes on the database shop"],
        );
        check(
            &[on("shop", "", &read), on("shop", "", &["insert", "createIndex"]), on("", "", &["remove"]), on("admin", "", &["createUser"])],
            Some("shop"),
            &[
                "write documents in every database, the database shop",
                "create, change and drop collections and indexes in the database shop",
                "create and change users and roles in the database admin",
            ],
            &[],
        );
        check(&[doc! { "resource": { "anyResource": true }, "actions": ["anyAction"] }], None, &["everything (root)"], &[]);
        check(&[on("shop", "", &read), cluster(&["shutdown"])], Some("shop"), &["administer the server"], &[]);
        // The built-in role backup.
        check(
            &[
                doc! { "resource": { "anyResource": true }, "actions": ["find", "listCollections", "listIndexes", "listDatabases"] },
                on("config", "settings", &["insert", "update"]),
                on("admin", "mms.backup", &["insert", "update"]),
            ],
            None,
            &[],
            &[],
        );
    }

    #[test]
    fn roles_are_judged_by_name_where_the_server_tells_no_privileges() {
        let judged = |role: &str, db: &str, database: Option<&str>| {
            judge(&status(Bson::Null, mongodb::bson::bson!([{ "role": role, "db": db }])), database)
        };
        assert!(judged("readAnyDatabase", "admin", None).unwrap().read_only());
        assert_eq!(judged("read", "other", Some("shop")).unwrap().missing, ["the role read"]);
        assert_eq!(judged("root", "admin", None).unwrap().beyond_reading, ["everything (root) (role root)"]);
        assert!(judged("ours", "admin", None).unwrap_err().contains("the role ours is not built in"));
    }

    #[test]
    fn a_server_without_logins_lets_everybody_write() {
        let account = judge(&doc! { "authInfo": { "authenticatedUsers": [], "authenticatedUserRoles": [] } }, None).unwrap();
        assert!(!account.read_only() && account.script.contains("readAnyDatabase"));
    }

    #[test]
    fn names_in_the_script_are_quoted() {
        assert!(script(Some("a\"b\n// c")).contains(r#"{ role: "read", db: "a\"b\n// c" }"#));
    }
}
