//! Where a reader is in a backup; all of it is in the address.

use serde::Deserialize;

use crate::{
    domain::{browse::RowQuery, ids::BackupId},
    web::compare::place::address,
};

/// Rows on one page.
pub const PAGE: u32 = 50;

/// What the address says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Place {
    pub table: Option<String>,
    /// The one row with this key, as a person types it.
    pub key: Option<String>,
    /// Text within values.
    pub q: Option<String>,
    /// Where a search goes on.
    pub after: Option<String>,
    page: Option<u32>,
    /// Text within names of tables.
    pub find: Option<String>,
}

impl Place {
    pub fn page(&self) -> u32 {
        self.page.unwrap_or(1).max(1)
    }

    pub fn query(&self) -> RowQuery {
        let Self { key, q, after, .. } = self.clone();
        RowQuery { page: self.page(), limit: PAGE, key, q, after, full: false }
    }

    pub fn on_table(&self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), find: self.find.clone(), ..Self::default() }
    }

    /// The same place with its table said.
    pub fn at(&self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self.clone() }
    }

    pub fn on_page(&self, page: u32) -> Self {
        Self { page: (page > 1).then_some(page), after: None, ..self.clone() }
    }

    /// A search from its start.
    pub fn at_start(&self) -> Self {
        Self { after: None, page: None, ..self.clone() }
    }

    pub fn at_key_after(&self, after: &str) -> Self {
        Self { after: Some(after.to_owned()), ..self.clone() }
    }

    /// The fields of the query, those that say nothing left out.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let page = self.page.filter(|page| *page > 1).map(|page| page.to_string());
        let all: [(_, Option<String>); 6] = [
            ("table", self.table.clone()),
            ("key", self.key.clone()),
            ("q", self.q.clone()),
            ("after", self.after.clone()),
            ("page", page),
            ("find", self.find.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    pub fn link(&self, id: &BackupId) -> String {
        address(&format!("/backups/{id}/browse"), self.fields())
    }
}

/// The address of one row.
pub fn row_link(id: &BackupId, table: &str, key: &str) -> String {
    address(&format!("/backups/{id}/browse/row"), [("table", table.to_owned()), ("key", key.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_its_address_and_comes_back_from_it() {
        let place = Place { q: Some("a&b".into()), ..Place::default().on_table("public.x y").on_page(3) };
        let link = place.link(&BackupId::new());
        assert!(link.ends_with("/browse?table=public.x+y&q=a%26b&page=3"), "{link}");
        let back: Place = axum::extract::Query::try_from_uri(&link.parse().unwrap()).unwrap().0;
        assert_eq!((back.query().page, back), (3, place));
    }

    #[test]
    fn another_table_begins_at_its_first_page() {
        let place = Place { q: Some("x".into()), find: Some("or".into()), ..Place::default().on_page(3) };
        assert_eq!(place.on_table("orders"), Place { table: Some("orders".into()), find: Some("or".into()), ..Place::default() });
    }
}
