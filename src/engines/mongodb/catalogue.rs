//! What databases and collections there are, and how each is defined.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc, spec::BinarySubtype};

use super::{
    archive::BUCKETS,
    connect::Server,
    faults::{code, code_of},
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
};

/// Databases that hold the server's own state.
const OWN: &[&str] = &["local", "config"];
const INTERNAL: &str = "__mdb_internal";

/// A collection or view.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    pub db: String,
    pub name: String,
    pub kind: CollectionKind,
    /// As listCollections gives them.
    pub options: Document,
    /// 32 hexadecimal digits; empty where there is none.
    pub uuid: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionKind {
    Collection,
    View,
    TimeSeries {
        /// Its documents are in a collection of their own; since 8.3 they are read from itself, raw.
        buckets: bool,
    },
}

impl CollectionKind {
    /// As mongodump names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Collection => "collection",
            Self::View => "view",
            Self::TimeSeries { .. } => "timeseries",
        }
    }
}

impl Collection {
    /// The collection that holds its documents; `None` for a view.
    pub fn data(&self) -> Option<String> {
        match self.kind {
            CollectionKind::View => None,
            CollectionKind::TimeSeries { buckets: true } => Some(format!("{BUCKETS}{}", self.name)),
            CollectionKind::Collection | CollectionKind::TimeSeries { buckets: false } => Some(self.name.clone()),
        }
    }
}

/// For people: `database.collection`.
impl std::fmt::Display for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.db, self.name)
    }
}

/// The databases that a dump of all holds. Errors when the account may not list all of them.
pub async fn databases(server: &Server, run: &Run) -> Result<Vec<String>> {
    let asking = async {
        // Unless told otherwise the server silently leaves out what the account may not read.
        let mut command = doc! { "listDatabases": 1, "nameOnly": true, "authorizedDatabases": false };
        let mut answer = server.command("admin", command.clone()).await;
        if answer.as_ref().is_err_and(|cause| code_of(cause).is_some_and(|code| code != code::UNAUTHORIZED)) {
            // Servers that only speak like MongoDB may not know the parameter.
            command.remove("authorizedDatabases");
            answer = server.command("admin", command).await;
        }
        answer.map_err(|cause| server.failed("listing the databases", &cause))
    };
    let answer = run.until_cancelled(asking).await?;
    let listed = answer.get_array("databases").map_err(|cause| Error::internal(format!("the answer to listDatabases: {cause}")))?;
    let names = listed.iter().filter_map(|database| database.as_document()?.get_str("name").ok());
    let mut names: Vec<_> = names.filter(|name| !OWN.contains(name) && !name.starts_with(INTERNAL)).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Refuses a database that is the server's own.
pub fn check_own(database: &str) -> Result<()> {
    if OWN.contains(&database) || database.starts_with(INTERNAL) {
        return Err(Error::validation(format!("the database {database} holds the server's own state and is not backed up"))
            .hint("name another database"));
    }
    Ok(())
}

/// A database that was `named` and holds nothing is not there: MongoDB knows no empty one.
pub fn check_there(database: &str, named: bool, collections: &[Collection]) -> Result<()> {
    if named && collections.is_empty() {
        return Err(Error::new(Kind::Database, format!("the database {database} does not exist, or has no collections"))
            .hint("check its name; MongoDB makes a database with its first collection"));
    }
    Ok(())
}

/// The collections and views of a database, by name, without those of the system: `system.js` is kept, users and roles
/// are [`super::roles`]'s, the storage of time series goes with them.
pub async fn collections(server: &Server, database: &str, run: &Run) -> Result<Vec<Collection>> {
    let doing = || format!("listing the collections of {database}");
    let listing = async {
        let handle = server.client.database(database);
        let command = handle.run_cursor_command(doc! { "listCollections": 1 }).selection_criteria(server.reading());
        let cursor = command.await.map_err(|cause| server.failed(doing(), &cause))?;
        cursor.try_collect::<Vec<Document>>().await.map_err(|cause| server.failed(doing(), &cause))
    };
    let listed = run.until_cancelled(listing).await?;
    let has_buckets = |name: &str| {
        let buckets = format!("{BUCKETS}{name}");
        listed.iter().any(|other| other.get_str("name").is_ok_and(|name| name == buckets))
    };
    let mut all = Vec::new();
    for entry in &listed {
        let name = entry.get_str("name").map_err(|cause| Error::internal(format!("{}: {cause}", doing())))?;
        if name.starts_with("system.") && name != "system.js" {
            continue;
        }
        let kind = match entry.get_str("type") {
            Ok("view") => CollectionKind::View,
            Ok("timeseries") => CollectionKind::TimeSeries { buckets: has_buckets(name) },
            _ => CollectionKind::Collection,
        };
        let options = entry.get_document("options").cloned().unwrap_or_default();
        let uuid = entry.get_document("info").ok().and_then(|info| info.get("uuid")).map(uuid_text).unwrap_or_default();
        all.push(Collection { db: database.to_owned(), name: name.to_owned(), kind, options, uuid });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// The indexes of a collection, none for a view; `None` when the collection is gone.
pub async fn indexes(server: &Server, collection: &Collection, run: &Run) -> Result<Option<Vec<Document>>> {
    if collection.kind == CollectionKind::View {
        return Ok(Some(Vec::new()));
    }
    let listing = async {
        match server.list(&collection.db, doc! { "listIndexes": collection.name.as_str() }).await {
            Ok(indexes) => Ok(Some(indexes)),
            Err(cause) if code_of(&cause) == Some(code::NAMESPACE_NOT_FOUND) => Ok(None),
            Err(cause) => Err(server.failed(format!("listing the indexes of {collection}"), &cause)),
        }
    };
    run.until_cancelled(listing).await
}

/// True when the collection is still the one that was listed, neither dropped nor replaced since.
pub async fn is_still_there(server: &Server, collection: &Collection, run: &Run) -> Result<bool> {
    let now = collections(server, &collection.db, run).await?;
    Ok(now.iter().any(|other| other.name == collection.name && other.uuid == collection.uuid))
}

fn uuid_text(value: &Bson) -> String {
    match value {
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => hex::encode(&binary.bytes),
        _ => String::new(),
    }
}
