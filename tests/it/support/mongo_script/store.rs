//! What the server keeps, and the commands that it understands. Filters are not understood but for names and `_id`.

use std::collections::{BTreeMap, VecDeque};

use mongodb::bson::{Bson, Document, RawBsonRef, RawDocumentBuf, Timestamp, doc};

use super::Command;

/// Documents of a batch where a command names no number.
const BATCH: usize = 101;

type Databases = BTreeMap<String, BTreeMap<String, Collection>>;

#[derive(Debug, Clone, Default)]
pub struct Collection {
    /// As `create` gave them.
    pub options: Document,
    pub indexes: Vec<Document>,
    pub documents: Vec<RawDocumentBuf>,
}

struct Cursor {
    namespace: String,
    rest: VecDeque<RawDocumentBuf>,
}

#[derive(Default)]
pub struct Store {
    databases: Databases,
    clock: u32,
    /// The databases as they were at these times.
    snapshots: BTreeMap<u32, Databases>,
    cursors: BTreeMap<i64, Cursor>,
    pub privileges: Vec<Document>,
}

impl Collection {
    pub fn kind(&self) -> &'static str {
        match () {
            () if self.options.contains_key("viewOn") => "view",
            () if self.options.contains_key("timeseries") => "timeseries",
            () => "collection",
        }
    }

    fn id_of(document: &RawDocumentBuf) -> Option<RawBsonRef<'_>> {
        document.get("_id").ok().flatten()
    }
}

fn error(code: i32, name: &str, words: impl Into<String>) -> Document {
    doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": words.into() }
}

impl Store {
    pub fn time(&self) -> Timestamp {
        Timestamp { time: 1_700_000_000, increment: self.clock + 1 }
    }

    pub fn names(&self, db: &str) -> Vec<String> {
        self.databases.get(db).map(|db| db.keys().cloned().collect()).unwrap_or_default()
    }

    pub fn collection(&self, db: &str, name: &str) -> Option<&Collection> {
        self.databases.get(db)?.get(name)
    }

    /// The collection, made where it is missing.
    pub fn collection_mut(&mut self, db: &str, name: &str) -> &mut Collection {
        self.clock += 1;
        let collection = self.databases.entry(db.to_owned()).or_default().entry(name.to_owned()).or_default();
        if collection.indexes.is_empty() && !collection.options.contains_key("viewOn") {
            collection.indexes.push(doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" });
        }
        collection
    }

    /// Adds documents, for a test's start.
    pub fn add(&mut self, db: &str, name: &str, documents: impl IntoIterator<Item = Document>) {
        let collection = self.collection_mut(db, name);
        collection.documents.extend(documents.into_iter().map(|one| RawDocumentBuf::try_from(&one).unwrap()));
    }

    pub fn run(&mut self, command: &Command, replicated: bool) -> Document {
        let (db, body) = (command.db().to_owned(), &command.body);
        match command.name() {
            "ping" | "endSessions" | "killCursors" | "killSessions" | "commitTransaction" | "abortTransaction" => doc! {},
            "buildInfo" => doc! { "version": "7.0.5", "versionArray": [7, 0, 5, 0] },
            "connectionStatus" => doc! { "authInfo": {
                "authenticatedUsers": [], "authenticatedUserRoles": [], "authenticatedUserPrivileges": self.privileges.clone(),
            } },
            "getParameter" => doc! { "minSnapshotHistoryWindowInSeconds": 300 },
            "dbStats" | "dbstats" => {
                let size: usize = self
                    .databases
                    .get(&db)
                    .into_iter()
                    .flat_map(BTreeMap::values)
                    .flat_map(|one| &one.documents)
                    .map(|one| one.as_bytes().len())
                    .sum();
                doc! { "db": &db, "dataSize": size as i64, "storageSize": size as i64, "collections": self.names(&db).len() as i64 }
            }
            "listDatabases" => {
                let all: Vec<_> = self.databases.keys().map(|name| doc! { "name": name, "sizeOnDisk": 1_i64, "empty": false }).collect();
                doc! { "databases": all, "totalSize": 1_i64 }
            }
            "listCollections" => self.list_collections(&db, body),
            "listIndexes" => match self.collection(&db, command.collection()) {
                None => error(26, "NamespaceNotFound", format!("ns does not exist: {db}.{}", command.collection())),
                Some(found) => first_batch(&format!("{db}.{}", command.collection()), found.indexes.clone()),
            },
            "create" => {
                let name = command.collection();
                if self.collection(&db, name).is_some() {
                    return error(48, "NamespaceExists", format!("Collection {db}.{name} already exists."));
                }
                let envelope = ["create", "$db", "$readPreference", "lsid", "writeConcern", "$clusterTime", "idIndex", "txnNumber"];
                let options = body.iter().filter(|(key, _)| !envelope.contains(&key.as_str()));
                let options = options.map(|(key, value)| (key.clone(), value.clone())).collect();
                self.databases.entry(db.clone()).or_default().insert(name.to_owned(), Collection { options, ..Collection::default() });
                self.collection_mut(&db, name);
                doc! {}
            }
            "createIndexes" => {
                let indexes = body.get_array("indexes").unwrap().iter().map(|index| index.as_document().unwrap().clone());
                self.collection_mut(&db, command.collection()).indexes.extend(indexes);
                doc! {}
            }
            "collMod" | "dropIndexes" | "_mergeAuthzCollections" => doc! {},
            "update" => doc! { "n": 1, "nModified": 1 },
            "drop" => match self.databases.get_mut(&db).and_then(|db| db.remove(command.collection())) {
                Some(_) => doc! { "nIndexesWas": 1 },
                None => error(26, "NamespaceNotFound", "ns not found"),
            },
            "dropDatabase" => {
                self.databases.remove(&db);
                doc! { "dropped": &db }
            }
            "renameCollection" => self.rename(body),
            "insert" => self.insert(&db, command),
            "find" => self.find(&db, command, replicated),
            "getMore" => self.get_more(body),
            "count" => doc! { "n": self.collection(&db, command.collection()).map_or(0, |found| found.documents.len() as i64) },
            "aggregate" => self.count_by_aggregate(&db, command),
            other => error(59, "CommandNotFound", format!("no such command: '{other}'")),
        }
    }

    fn list_collections(&self, db: &str, body: &Document) -> Document {
        let only = body.get_document("filter").ok().and_then(|filter| filter.get_str("name").ok());
        let all = self.databases.get(db).into_iter().flatten().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
        let listed = all.map(|(name, found)| {
            let read_only = found.kind() == "view";
            doc! { "name": name, "type": found.kind(), "options": found.options.clone(), "info": { "readOnly": read_only } }
        });
        first_batch(&format!("{db}.$cmd.listCollections"), listed.collect())
    }

    fn rename(&mut self, body: &Document) -> Document {
        let split = |key: &str| body.get_str(key).unwrap().split_once('.').map(|(db, name)| (db.to_owned(), name.to_owned())).unwrap();
        let (from, to) = (split("renameCollection"), split("to"));
        if self.collection(&to.0, &to.1).is_some() && !body.get_bool("dropTarget").unwrap_or(false) {
            return error(48, "NamespaceExists", "target namespace exists");
        }
        match self.databases.get_mut(&from.0).and_then(|db| db.remove(&from.1)) {
            None => error(26, "NamespaceNotFound", "Source collection does not exist"),
            Some(moved) if moved.kind() != "collection" => {
                let kind = moved.kind();
                self.databases.entry(from.0).or_default().insert(from.1, moved);
                error(166, "CommandNotSupportedOnView", format!("a {kind} cannot be renamed"))
            }
            Some(moved) => {
                self.clock += 1;
                self.databases.entry(to.0).or_default().insert(to.1, moved);
                doc! {}
            }
        }
    }

    /// Refuses a second document with an `_id`.
    fn insert(&mut self, db: &str, command: &Command) -> Document {
        let ordered = command.body.get_bool("ordered").unwrap_or(true);
        let collection = self.collection_mut(db, command.collection());
        let (mut done, mut refused) = (0, Vec::new());
        for (at, document) in command.documents.iter().enumerate() {
            if collection.documents.iter().any(|other| Collection::id_of(other) == Collection::id_of(document)) {
                let id = Bson::try_from(Collection::id_of(document).unwrap()).unwrap();
                refused.push(doc! {
                    "index": at as i32, "code": 11000, "keyPattern": { "_id": 1 }, "keyValue": { "_id": id.clone() },
                    "errmsg": format!("E11000 duplicate key error collection: {db}.{} index: _id_ dup key: {{ _id: {id} }}", command.collection()),
                });
                if ordered {
                    break;
                }
                continue;
            }
            collection.documents.push(document.clone());
            done += 1;
        }
        let mut answer = doc! { "n": done };
        if !refused.is_empty() {
            answer.insert("writeErrors", refused);
        }
        answer
    }

    /// A read at a cluster time sees what was there then, whatever came since.
    fn find(&mut self, db: &str, command: &Command, replicated: bool) -> Document {
        let concern = command.body.get_document("readConcern").ok();
        let snapshot = concern.filter(|concern| concern.get_str("level").is_ok_and(|level| level == "snapshot"));
        if snapshot.is_some() && !replicated {
            return error(123, "NotAReplicaSet", "node needs to be a replica set member to use readConcern: snapshot");
        }
        let at = snapshot.map(|concern| match concern.get_timestamp("atClusterTime") {
            Ok(time) => time.increment,
            Err(_) => {
                let now = self.time().increment;
                self.snapshots.insert(now, self.databases.clone());
                now
            }
        });
        let seen = match at {
            Some(at) => match self.snapshots.get(&at) {
                Some(then) => then,
                None => return error(239, "SnapshotTooOld", "Read timestamp is older than the oldest available timestamp."),
            },
            None => &self.databases,
        };
        let found = seen.get(db).and_then(|db| db.get(command.collection()));
        let wanted = command.body.get_document("filter").ok().and_then(|filter| filter.get("_id")).cloned();
        let documents = found.into_iter().flat_map(|found| &found.documents);
        let documents = documents.filter(|one| match &wanted {
            Some(Bson::Document(_)) | None => true,
            Some(id) => Collection::id_of(one).and_then(|one| Bson::try_from(one).ok()).as_ref() == Some(id),
        });
        let mut rest: VecDeque<_> = documents.cloned().collect();
        if command.body.get_document("sort").is_ok_and(|sort| sort.contains_key("_id")) {
            rest.make_contiguous().sort_by_cached_key(|one| dbsnap::snapshot::document_key(one.as_bytes()));
        }
        if let Some(limit) = number(&command.body, "limit").filter(|limit| *limit > 0) {
            rest.truncate(limit);
        }
        let namespace = format!("{db}.{}", command.collection());
        let size = number(&command.body, "batchSize").unwrap_or(BATCH);
        let mut cursor = self.batch(namespace, rest, size, "firstBatch");
        if let Some(at) = at {
            let time = Timestamp { time: 1_700_000_000, increment: at };
            cursor.get_document_mut("cursor").unwrap().insert("atClusterTime", time);
        }
        cursor
    }

    fn batch(&mut self, namespace: String, mut rest: VecDeque<RawDocumentBuf>, size: usize, name: &str) -> Document {
        let now: Vec<Bson> = rest.drain(..size.min(rest.len())).map(|one| Bson::Document(one.try_into().unwrap())).collect();
        let id = if rest.is_empty() { 0 } else { i64::try_from(self.cursors.len()).unwrap() + 1000 };
        let mut cursor = doc! { "id": id, "ns": &namespace };
        cursor.insert(name, now);
        if id != 0 {
            self.cursors.insert(id, Cursor { namespace, rest });
        }
        doc! { "cursor": cursor }
    }

    fn get_more(&mut self, body: &Document) -> Document {
        let id = body.get_i64("getMore").unwrap();
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return error(43, "CursorNotFound", format!("cursor id {id} not found"));
        };
        let (namespace, rest) = (cursor.namespace.clone(), std::mem::take(&mut cursor.rest));
        let size = number(body, "batchSize").unwrap_or(BATCH);
        let mut answer = self.batch(namespace, rest, size, "nextBatch");
        // The same cursor goes on.
        let fields = answer.get_document_mut("cursor").unwrap();
        if let Ok(new @ 1..) = fields.get_i64("id") {
            let goes_on = self.cursors.remove(&new).unwrap();
            self.cursors.insert(id, goes_on);
            fields.insert("id", id);
        }
        answer
    }

    /// `$collStats` and the two stages of `countDocuments`.
    fn count_by_aggregate(&self, db: &str, command: &Command) -> Document {
        let pipeline = command.body.get_array("pipeline").unwrap();
        let count = self.collection(db, command.collection()).map_or(0, |found| found.documents.len() as i64);
        let namespace = format!("{db}.{}", command.collection());
        let stage = |name: &str| pipeline.iter().any(|stage| stage.as_document().is_some_and(|stage| stage.contains_key(name)));
        match () {
            () if stage("$collStats") => {
                first_batch(&namespace, vec![doc! { "ns": &namespace, "count": count, "storageStats": { "size": count, "count": count } }])
            }
            () if count == 0 => first_batch(&namespace, Vec::new()),
            () => first_batch(&namespace, vec![doc! { "_id": 1, "n": count }]),
        }
    }
}

fn number(body: &Document, key: &str) -> Option<usize> {
    match body.get(key)? {
        Bson::Int32(number) => usize::try_from(*number).ok(),
        Bson::Int64(number) => usize::try_from(*number).ok(),
        Bson::Double(number) => Some(*number as usize),
        _ => None,
    }
}

fn first_batch(namespace: &str, documents: Vec<Document>) -> Document {
    doc! { "cursor": { "id": 0_i64, "ns": namespace, "firstBatch": documents } }
}
