//! The names of what can change in a row: columns, or the fields of documents as they are met.

use std::collections::HashMap;

use super::pattern::ignores_column;
use crate::snapshot::TableName;

/// Fields beyond this many share the last entry.
const MOST: usize = 1000;
/// The name of the entry that all further fields share.
pub const FURTHER: &str = "…";
/// The name of the entry that tells that the order of the fields differs.
pub use super::document::FIELD_ORDER as ORDER;

/// The top-level fields of the documents in a report, each with a place that stays.
pub struct Fields {
    table: TableName,
    ignored: Vec<String>,
    places: HashMap<Vec<u8>, Place>,
    names: Vec<String>,
}

/// A field's place among the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub at: usize,
    /// The options hide its changes.
    pub ignored: bool,
}

impl Fields {
    pub fn new(table: &TableName, ignored: &[String]) -> Self {
        Self { table: table.clone(), ignored: ignored.to_vec(), places: HashMap::new(), names: Vec::new() }
    }

    /// The field's place, a new one where it was not met before.
    pub fn place(&mut self, name: &[u8]) -> Place {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let text = String::from_utf8_lossy(name).into_owned();
        let ignored = ignores_column(&self.ignored, &self.table, &text);
        if self.names.len() < MOST {
            self.names.push(text);
        } else if self.names.len() == MOST {
            self.names.push(FURTHER.to_owned());
        }
        let place = Place { at: self.names.len() - 1, ignored };
        // Documents may have any number of names: those beyond the cap are judged again each time.
        if self.places.len() < 2 * MOST {
            self.places.insert(name.to_vec(), place);
        }
        place
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_place_and_further_ones_share_the_last() {
        let mut fields = Fields::new(&TableName::new(None, "users"), &["users.seen*".to_owned()]);
        let seen = Place { at: 1, ignored: true };
        assert_eq!((fields.place(b"a").at, fields.place(b"seenAt"), fields.place(b"b").at, fields.place(b"seenAt")), (0, seen, 2, seen));
        for at in 0..5 * MOST {
            fields.place(format!("f{at}").as_bytes());
        }
        assert_eq!((fields.names().len(), fields.place(b"one more").at, fields.place(b"f0").at), (MOST + 1, MOST, 3));
        assert_eq!(fields.names().last().unwrap(), FURTHER);
    }
}
