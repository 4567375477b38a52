//! The names of what can change in a row: columns, or the fields of documents as they are met.

use std::collections::HashMap;

use super::pattern::ignores_column;
use crate::snapshot::TableName;

/// Fields beyond this many share the last entry.
const MOST: usize = 1000;
/// The name of the entry that all further fields share.
pub const FURTHER: &str = "…";
/// The name of the entry that tells that the order of the fields differs.
pub const ORDER: &str = "(order of fields)";

/// The top-level fields of a collection's documents that changed, each with a place that stays.
pub struct Fields {
    table: TableName,
    ignored: Vec<String>,
    places: HashMap<Vec<u8>, Option<usize>>,
    names: Vec<String>,
}

impl Fields {
    pub fn new(table: &TableName, ignored: &[String]) -> Self {
        Self { table: table.clone(), ignored: ignored.to_vec(), places: HashMap::new(), names: Vec::new() }
    }

    /// The field's place; `None` where the options hide it.
    pub fn place(&mut self, name: &[u8]) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let text = String::from_utf8_lossy(name).into_owned();
        if ignores_column(&self.ignored, &self.table, &text) {
            self.remember(name, None);
            return None;
        }
        if self.names.len() < MOST {
            self.names.push(text);
        } else if self.names.len() == MOST {
            self.names.push(FURTHER.to_owned());
        }
        let place = self.names.len() - 1;
        self.remember(name, Some(place));
        Some(place)
    }

    /// Documents may have any number of names: what is beyond the cap is looked up again.
    fn remember(&mut self, name: &[u8], place: Option<usize>) {
        if self.places.len() < 2 * MOST {
            self.places.insert(name.to_vec(), place);
        }
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
        assert_eq!(
            (fields.place(b"a"), fields.place(b"seenAt"), fields.place(b"b"), fields.place(b"a")),
            (Some(0), None, Some(1), Some(0))
        );
        assert_eq!(fields.place(b"seenAt"), None);
        for at in 0..5 * MOST {
            fields.place(format!("f{at}").as_bytes());
        }
        assert_eq!((fields.names().len(), fields.place(b"one more"), fields.place(b"f0")), (MOST + 1, Some(MOST), Some(2)));
        assert_eq!(fields.names().last().unwrap(), FURTHER);
    }
}
