//! The archive that is being restored: spooled to the run's scratch folder and proven whole before anything is changed,
//! and what of it goes where.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    archive::{BUCKETS, Header, ROLES, USERS},
    connect::Target,
    definition::{Shape, shape},
    inspect::counts,
    metadata::Metadata,
    reader::{Listed, Reader},
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        fields::SettingsExt,
        restore::RestorePlan,
        run::Run,
    },
    engines::{RestoreRequest, spool},
    error::{Error, Kind, Result},
};

/// Longest name of a database, bytes.
const LONGEST_DATABASE: usize = 63;
/// Databases that belong to one server and are never restored.
const OF_A_SERVER: &[&str] = &["local", "config"];

/// A proven archive.
pub struct Input {
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    pub header: Header,
    listed: Vec<Listed>,
    metadata: Vec<Metadata>,
}

/// A collection or view that is to be restored.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its number among the blocks of the archive.
    pub at: usize,
    pub db: String,
    pub name: String,
    pub metadata: Metadata,
    pub shape: Shape,
    /// Its documents are buckets that go to a collection of their own, as before 8.3.
    pub buckets: bool,
    /// Documents in the archive.
    pub documents: u64,
    /// More than one database is restored: counts name them.
    pub several: bool,
}

impl Item {
    /// `database.collection`, for people.
    pub fn label(&self) -> String {
        format!("{}.{}", self.db, self.name)
    }

    pub fn holds_documents(&self) -> bool {
        self.shape != Shape::View
    }

    /// The collection that its documents go to, when it is called `name`.
    pub fn data_name(&self, name: &str) -> String {
        if self.buckets { format!("{BUCKETS}{name}") } else { name.to_owned() }
    }

    pub fn count(&self, rows: u64) -> TableCount {
        TableCount { schema: self.several.then(|| self.db.clone()), name: self.data_name(&self.name), rows }
    }
}

/// Users or roles that are to be restored.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub at: usize,
    /// `None`: of all databases.
    pub db: Option<String>,
    pub roles: bool,
}

/// What goes where.
#[derive(Debug, Default)]
pub struct Selection {
    /// Views last, each after what it looks at.
    pub items: Vec<Item>,
    pub accounts: Vec<Accounts>,
    pub warnings: Vec<String>,
}

impl Selection {
    pub fn databases(&self) -> BTreeSet<&str> {
        self.items.iter().map(|item| item.db.as_str()).collect()
    }
}

impl Input {
    /// Reads the archive of a request to its end. Errors when it is damaged or cut short, and when it does not hold the
    /// documents that its manifest names.
    pub async fn read(request: &RestoreRequest<'_>, run: &Run) -> Result<Self> {
        let dump = request.source.parts().into_iter().find(|(part, _)| *part == ArtifactKind::Dump);
        let (_, format) = dump.ok_or_else(|| Error::new(Kind::Restore, "the backup holds no dump").hint("choose another backup"))?;
        if format != DumpFormat::MongoArchive {
            return Err(Error::validation(format!("a dump of the format '{}' cannot be restored into MongoDB", format.as_str()))
                .hint("choose a target of the engine that it comes from"));
        }
        let path = run.scratch.join(format!("restore.{}", format.extension()));
        let stream = request.source.open(ArtifactKind::Dump).await?;
        let seer = (Reader::new(), 0_u64);
        let see = |(reader, size): &mut (Reader, u64), bytes: &[u8]| {
            *size += bytes.len() as u64;
            reader.feed(bytes, &mut |_, _| Ok(()))
        };
        let (reader, size) = spool(stream, &path, seer, see, run).await?;
        reader.finish()?;
        compare(request.expected, &counts(reader.listed()))
            .map_err(|error| error.while_doing("the archive does not hold what its manifest says"))?;
        let header = reader.header().cloned().ok_or_else(|| Error::internal("an archive without a header was taken for whole"))?;
        let listed = reader.into_listed();
        let read = |listed: &Listed| match listed.listing.metadata.as_str() {
            "" => Ok(Metadata::default()),
            text => Metadata::from_json(text).map_err(|error| error.while_doing(listed.label())),
        };
        let metadata = listed.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { path, size, header, listed, metadata })
    }

    /// What of it goes into the target. Errors when a chosen collection is not in it, when several databases would have
    /// to go into one, and when a name is none that a server takes.
    pub fn select(&self, plan: &RestorePlan, target: &Target) -> Result<Selection> {
        let mut selection = Selection::default();
        let accounts = plan.engine.flag("usersAndRoles");
        let mut left_out: Vec<String> = Vec::new();
        let mut wanted: Vec<&str> = plan.tables.iter().map(String::as_str).collect();
        let mut chosen = Vec::new();
        for (at, listed) in self.listed.iter().enumerate() {
            if listed.is_account() {
                selection.accounts.extend(accounts.then(|| account(at, listed)).flatten());
                continue;
            }
            if belongs_to_server(&listed.listing.db, &listed.listing.collection) {
                left_out.push(listed.label());
                continue;
            }
            if !plan.tables.is_empty() {
                let label = listed.label();
                if !plan.tables.iter().any(|table| *table == listed.listing.collection || *table == label) {
                    continue;
                }
                wanted.retain(|table| *table != listed.listing.collection && *table != label);
            }
            chosen.push((at, listed));
        }
        if !wanted.is_empty() {
            return Err(Error::new(Kind::Restore, format!("the backup has no collection {}", wanted.join(", ")))
                .hint("write it as name or database.name, as the backup lists it"));
        }
        if !left_out.is_empty() && plan.tables.is_empty() {
            selection.warnings.push(format!("not restored, because it belongs to one server: {}", left_out.join(", ")));
        }
        let databases: BTreeSet<&str> = chosen.iter().map(|(_, listed)| listed.listing.db.as_str()).collect();
        let into = target.database.as_deref();
        if let Some(into) = into
            && databases.len() > 1
        {
            let names: Vec<_> = databases.iter().copied().collect();
            return Err(Error::validation(format!(
                "the backup holds several databases ({}), which cannot go into the one '{into}'",
                names.join(", ")
            ))
            .hint("choose collections of one of them, or restore over a connection that names no database"));
        }
        for (at, listed) in chosen {
            let metadata = self.metadata[at].clone();
            let db = into.unwrap_or(&listed.listing.db).to_owned();
            check_database(&db)?;
            check_collection(&listed.listing.collection)?;
            selection.items.push(Item {
                at,
                db,
                name: listed.listing.collection.clone(),
                shape: shape(&metadata, &listed.listing.kind),
                metadata,
                buckets: listed.has_buckets(),
                documents: listed.documents,
                several: databases.len() > 1,
            });
        }
        order_views(&mut selection.items);
        if accounts {
            let renamed = into.is_some_and(|into| databases.iter().any(|db| *db != into));
            match () {
                () if selection.accounts.is_empty() => {
                    selection.warnings.push("the backup holds no users and roles: none were restored".into());
                }
                () if renamed => {
                    selection.accounts.clear();
                    selection
                        .warnings
                        .push("users and roles belong to the database they were made in: none were restored into another".into());
                }
                () => {}
            }
        }
        Ok(selection)
    }
}

fn account(at: usize, listed: &Listed) -> Option<Accounts> {
    let (roles, db) = match listed.listing.collection.as_str() {
        USERS => (false, Some(listed.listing.db.clone())),
        ROLES => (true, Some(listed.listing.db.clone())),
        "system.users" => (false, None),
        "system.roles" => (true, None),
        _ => return None,
    };
    // Those of `admin` come with those of all databases.
    let db = db.filter(|db| db != "admin");
    (listed.documents > 0).then_some(Accounts { at, db, roles })
}

/// `system.js` holds functions of the database; every other `system.` collection is the server's own affair, and so is
/// the oplog, which mongodump lists without a database.
fn belongs_to_server(db: &str, collection: &str) -> bool {
    let system = collection.starts_with("system.") && collection != "system.js";
    system || OF_A_SERVER.contains(&db) || (db, collection) == ("", "oplog")
}

/// Errors unless a server takes this as the name of a database.
pub fn check_database(name: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::validation(format!("'{}' can be no name of a database: {why}", name.escape_debug())));
    match () {
        () if name.is_empty() => wrong("it is empty"),
        () if name.len() > LONGEST_DATABASE => wrong("it is longer than 63 bytes"),
        () if name.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) => {
            wrong("it has one of the characters / \\ . space \" $ * < > : | ?")
        }
        () if OF_A_SERVER.contains(&name) => wrong("it belongs to the server"),
        () => Ok(()),
    }
}

fn check_collection(name: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::validation(format!("'{}' can be no name of a collection: {why}", name.escape_debug())));
    match () {
        () if name.is_empty() => wrong("it is empty"),
        () if name.contains('\0') => wrong("it has a NUL character"),
        () if name.starts_with('$') => wrong("it begins with a dollar"),
        () if name.starts_with('.') || name.ends_with('.') => wrong("it begins or ends with a dot"),
        () => Ok(()),
    }
}

/// Views last, each after the views that it looks at. Views that look at each other in a circle stay as they are; the
/// server refuses them.
fn order_views(items: &mut Vec<Item>) {
    let (mut views, mut ordered): (Vec<Item>, Vec<Item>) = std::mem::take(items).into_iter().partition(|item| item.shape == Shape::View);
    while !views.is_empty() {
        let waits = |item: &Item| {
            let on = item.metadata.options.get_str("viewOn").unwrap_or_default();
            views.iter().any(|other| other.db == item.db && other.name == on && other.name != item.name)
        };
        let (wait, go): (Vec<bool>, bool) = {
            let wait: Vec<bool> = views.iter().map(waits).collect();
            let go = wait.contains(&false);
            (wait, go)
        };
        let mut wait = wait.into_iter();
        let (later, now): (Vec<Item>, Vec<Item>) = views.into_iter().partition(|_| go && wait.next() == Some(true));
        ordered.extend(now);
        views = later;
    }
    *items = ordered;
}

/// Errors unless every counted collection holds the expected documents.
pub fn compare(expected: &[TableCount], counted: &[TableCount]) -> Result<()> {
    let found = |table: &TableCount| counted.iter().find(|other| other.schema == table.schema && other.name == table.name);
    let different: Vec<String> = expected
        .iter()
        .filter_map(|table| match found(table) {
            Some(other) if other.rows == table.rows => None,
            Some(other) => Some(format!("{} has {} documents instead of {}", table.label(), other.rows, table.rows)),
            None => Some(format!("{} is missing", table.label())),
        })
        .collect();
    if different.is_empty() { Ok(()) } else { Err(Error::new(Kind::Restore, different.join(", "))) }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn names_that_servers_refuse_are_refused_before_anything_is_sent() {
        for wrong in ["", "a.b", "a b", "a$", "local", "config", "a\0", &"x".repeat(64)] {
            assert!(check_database(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "a\0b", "$cmd", ".a", "a."] {
            assert!(check_collection(wrong).is_err(), "{wrong}");
        }
        for right in ["a.b", "`\"'; 🐘\n", "fs.files"] {
            check_collection(right).unwrap();
        }
        check_database("shop-2_ü").unwrap();
    }

    #[test]
    fn views_come_after_what_they_look_at() {
        let item = |name: &str, on: Option<&str>| Item {
            at: 0,
            db: "d".into(),
            name: name.into(),
            metadata: Metadata { options: on.map(|on| doc! { "viewOn": on }).unwrap_or_default(), ..Metadata::default() },
            shape: if on.is_some() { Shape::View } else { Shape::Plain },
            buckets: false,
            documents: 0,
            several: false,
        };
        let mut items = vec![item("c", Some("b")), item("x", Some("y")), item("y", Some("x")), item("b", Some("a")), item("a", None)];
        order_views(&mut items);
        let names: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "x", "y"]);
    }
}
