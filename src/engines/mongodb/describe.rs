//! Collections, views and indexes as a snapshot's schema, and read back from one.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};

use super::{
    catalogue::{Collection, CollectionKind},
    extjson,
    metadata::Metadata,
};
use crate::{
    error::{Error, Result},
    snapshot::{Class, Column, Key, Object, ObjectKind, Schema, Table, TableName},
};

/// The one column of a collection.
pub const DOCUMENT: &str = "document";
/// The option that says what a collection is, where it is no plain one.
const KIND: &str = "type";

/// The name in a snapshot: with its database where there are several.
pub fn name_of(collection: &Collection, qualified: bool) -> TableName {
    TableName::new(qualified.then_some(collection.db.as_str()), &collection.name)
}

/// Adds a collection or view with its indexes.
pub fn add(schema: &mut Schema, collection: &Collection, indexes: &[Document], qualified: bool) {
    let name = name_of(collection, qualified);
    if collection.kind == CollectionKind::View {
        schema.objects.push(Object {
            kind: ObjectKind::View,
            table: None,
            name,
            definition: extjson::write(&collection.options),
            options: BTreeMap::new(),
            references: None,
        });
        return;
    }
    schema.tables.push(table(name.clone(), collection, indexes));
    for index in indexes.iter().filter(|index| !is_of_id(index)) {
        let (own, definition) = index_definition(index);
        schema.objects.push(Object {
            kind: ObjectKind::Index,
            table: Some(name.clone()),
            name: TableName::new(name.schema.as_deref(), &own),
            definition,
            options: BTreeMap::new(),
            references: None,
        });
    }
}

/// Brings the lists in the order of their names.
pub fn sort(schema: &mut Schema) {
    schema.tables.sort_by(|one, other| one.name.cmp(&other.name));
    schema.objects.sort_by(|one, other| (&one.table, &one.name, one.kind).cmp(&(&other.table, &other.name, other.kind)));
}

fn table(name: TableName, collection: &Collection, indexes: &[Document]) -> Table {
    let column = Column {
        name: DOCUMENT.to_owned(),
        type_name: "bson".to_owned(),
        class: Class::Bson,
        nullable: false,
        default: None,
        generated: None,
        options: BTreeMap::new(),
    };
    let mut options: BTreeMap<_, _> = collection.options.iter().map(|(name, value)| (name.clone(), extjson::write_value(value))).collect();
    let series = matches!(collection.kind, CollectionKind::TimeSeries { .. });
    if series {
        options.insert(KIND.to_owned(), extjson::write_value(&Bson::from(collection.kind.as_str())));
    }
    // Without an index of `_id` nothing keeps two documents from having the same one.
    let keyed = series || collection.options.contains_key("clusteredIndex") || indexes.iter().any(is_of_id);
    let key = if keyed { Key::Columns { columns: vec![DOCUMENT.to_owned()] } } else { Key::Row };
    Table { name, columns: vec![column], key, definition: String::new(), options }
}

/// True when documents are stored or indexed so that `{_id: 1}` gives them in our order.
pub fn ordered_by_id(collection: &Collection) -> bool {
    let simple = |collation: &Document| collation.get_str("locale").is_ok_and(|locale| locale == "simple");
    collection.kind == CollectionKind::Collection && collection.options.get_document("collation").map_or(true, simple)
}

fn is_of_id(index: &Document) -> bool {
    let by_id = index
        .get_document("key")
        .is_ok_and(|key| key.len() == 1 && key.get("_id").is_some_and(|direction| direction_of(direction) == Bson::Int32(1)));
    by_id || index.get_bool("clustered").unwrap_or(false)
}

/// The name of an index, and the rest of it in one order: without its version and namespace, which are the server's affair,
/// and with whole numbers of one type, which shells write as any.
fn index_definition(index: &Document) -> (String, String) {
    let mut rest: BTreeMap<&str, Bson> = BTreeMap::new();
    let mut definition = Document::new();
    for (name, value) in index {
        match (name.as_str(), value) {
            ("v" | "ns" | "name" | "background", _) => {}
            ("key" | "weights", Bson::Document(inner)) => {
                let plain: Document = inner.iter().map(|(field, value)| (field.clone(), direction_of(value))).collect();
                if name == "key" {
                    definition.insert("key", plain);
                } else {
                    rest.insert(name, plain.into());
                }
            }
            ("unique" | "sparse" | "hidden", Bson::Boolean(false)) => {}
            _ => drop(rest.insert(name, value.clone())),
        }
    }
    definition.extend(rest.into_iter().map(|(name, value)| (name.to_owned(), value)));
    (index.get_str("name").unwrap_or_default().to_owned(), extjson::write(&definition))
}

fn direction_of(value: &Bson) -> Bson {
    match value {
        Bson::Int64(number) => i32::try_from(*number).map_or_else(|_| value.clone(), Bson::Int32),
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < 1e9 => Bson::Int32(*number as i32),
        _ => value.clone(),
    }
}

/// What makes a collection, read back. Errors when an option is not as [`add`] wrote it.
pub fn metadata_of(table: &Table) -> Result<Metadata> {
    let mut metadata = Metadata { collection: table.name.name.clone(), ..Metadata::default() };
    for (name, text) in &table.options {
        let value = extjson::read_value(text).map_err(|cause| wrong(&table.name, &format!("the option '{name}': {cause}")))?;
        match (name.as_str(), value) {
            (KIND, Bson::String(kind)) => metadata.kind = kind,
            (_, value) => drop(metadata.options.insert(name, value)),
        }
    }
    Ok(metadata)
}

/// An index as listIndexes gives it, or a view's options. Errors when the definition is not as [`add`] wrote it.
pub fn definition_of(object: &Object) -> Result<Document> {
    let mut definition = extjson::read(&object.definition).map_err(|cause| wrong(&object.name, &cause))?;
    if object.kind == ObjectKind::Index {
        definition = definition.into_iter().chain(doc! { "name": object.name.name.as_str() }).collect();
    }
    Ok(definition)
}

fn wrong(name: &TableName, cause: &str) -> Error {
    Error::validation(format!("the definition of {name} in the snapshot cannot be read: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(kind: CollectionKind, options: Document) -> Collection {
        Collection { db: "d".into(), name: "c".into(), kind, options, uuid: "00".into() }
    }

    #[test]
    fn a_collection_reads_back_as_it_was_described() {
        let options = doc! { "validator": { "z": { "$gt": 1_i64 }, "a": 1 }, "capped": true, "size": 4096.0 };
        let indexes = [
            doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_", "ns": "d.c" },
            doc! { "v": 2, "key": { "z": 1.0, "a": -1_i64, "t": "text" }, "name": "z", "weights": { "t": 2.0 }, "unique": true, "ns": "d.c" },
        ];
        let mut schema = Schema::default();
        add(&mut schema, &collection(CollectionKind::Collection, options.clone()), &indexes, true);
        let table = &schema.tables[0];
        assert_eq!((table.name.to_string(), &table.key), ("d.c".into(), &Key::Columns { columns: vec![DOCUMENT.into()] }));
        let read = metadata_of(table).unwrap();
        assert_eq!(read.options.get_document("validator").unwrap(), options.get_document("validator").unwrap());
        assert_eq!(read.options.get("size"), options.get("size"));
        assert_eq!(
            definition_of(&schema.objects[0]).unwrap(),
            doc! { "key": { "z": 1, "a": -1, "t": "text" }, "unique": true, "weights": { "t": 2 }, "name": "z" }
        );
        assert_eq!(schema.objects.len(), 1);
    }

    #[test]
    fn what_an_index_is_does_not_depend_on_who_made_it() {
        let one = doc! { "v": 1, "key": { "a": 1.0 }, "name": "a_1", "ns": "old.c", "background": true, "sparse": false, "unique": true };
        let two = doc! { "v": 2, "unique": true, "key": { "a": 1 }, "name": "a_1" };
        assert_eq!(index_definition(&one), index_definition(&two));
        assert_ne!(index_definition(&two), index_definition(&doc! { "key": { "a": -1 }, "name": "a_1", "unique": true }));
    }

    #[test]
    fn without_an_index_of_id_documents_are_a_multiset() {
        let key = |kind, options, indexes: &[Document]| table(TableName::new(None, "c"), &collection(kind, options), indexes).key;
        assert_eq!(key(CollectionKind::Collection, doc! {}, &[]), Key::Row);
        assert_ne!(key(CollectionKind::TimeSeries { buckets: true }, doc! {}, &[]), Key::Row);
        assert_ne!(key(CollectionKind::Collection, doc! { "clusteredIndex": { "key": { "_id": 1 } } }, &[]), Key::Row);
        assert!(!ordered_by_id(&collection(CollectionKind::Collection, doc! { "collation": { "locale": "de" } })));
        assert!(ordered_by_id(&collection(CollectionKind::Collection, doc! { "collation": { "locale": "simple" } })));
        let damaged = Object {
            kind: ObjectKind::View,
            table: None,
            name: TableName::new(None, "v"),
            definition: "{".into(),
            options: BTreeMap::new(),
            references: None,
        };
        assert!(definition_of(&damaged).is_err());
    }
}
