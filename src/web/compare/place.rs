//! Where a reader is in a report. All of it is in the address, so that every view can be linked to, and works without scripts.

use serde::Deserialize;
use url::form_urlencoded;

use crate::domain::{
    diff::{Change, ChangeFilter},
    ids::DiffId,
    page::PageRequest,
};

/// Changed rows on one page.
pub const PAGE: u32 = 50;

/// How the changed rows of a table are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// One line for each row, old and new in the cell.
    #[default]
    Inline,
    /// One block for each row: column, before, after.
    Side,
    /// What changed in the definitions.
    Schema,
}

impl View {
    fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Side => "side",
            Self::Schema => "schema",
        }
    }
}

/// What the address of a report says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Place {
    pub table: Option<String>,
    view: Option<String>,
    kind: Option<String>,
    pub column: Option<String>,
    /// Text within changed rows.
    pub q: Option<String>,
    /// Columns, separated by commas.
    pub ignore: Option<String>,
    /// `1` or `0`: only columns that changed.
    only: Option<String>,
    page: Option<u32>,
    /// Where a text search goes on.
    pub next: Option<String>,
    /// Text within names of tables.
    pub find: Option<String>,
}

impl Place {
    pub fn view(&self) -> View {
        match self.view.as_deref() {
            Some("side") => View::Side,
            Some("schema") => View::Schema,
            _ => View::Inline,
        }
    }

    pub fn kind(&self) -> Option<Change> {
        self.kind.as_deref().and_then(|kind| kind.parse().ok())
    }

    /// `None`: the reader did not say.
    pub fn only(&self) -> Option<bool> {
        self.only.as_deref().map(|only| only == "1")
    }

    pub fn page(&self) -> u32 {
        self.page.unwrap_or(1).max(1)
    }

    pub fn request(&self) -> PageRequest {
        PageRequest { page: self.page(), limit: PAGE }
    }

    /// The changes that are shown of `table`.
    pub fn filter(&self, table: &str) -> ChangeFilter {
        ChangeFilter {
            table: Some(table.to_owned()),
            kind: self.kind(),
            column: self.column.clone(),
            q: self.q.clone(),
            ignore: self.ignore.clone(),
        }
    }

    /// True when some changes of the table are left out.
    pub fn is_filtered(&self) -> bool {
        self.kind().is_some() || self.column.is_some() || self.q.is_some()
    }

    /// The ignored columns.
    pub fn ignored(&self) -> Vec<&str> {
        self.ignore.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    pub fn on_table(&self, table: &str) -> Self {
        let view = self.view.clone().filter(|view| view != "schema");
        let Self { ignore, only, find, .. } = self.clone();
        Self { table: Some(table.to_owned()), view, ignore, only, find, ..Self::default() }
    }

    /// The same place with its table said.
    pub fn at_table(&self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self.clone() }
    }

    /// The schema of the whole database.
    pub fn on_schema(&self) -> Self {
        let Self { ignore, only, find, .. } = self.clone();
        Self { view: Some(View::Schema.as_str().into()), ignore, only, find, ..Self::default() }
    }

    pub fn viewed(&self, view: View) -> Self {
        Self { view: (view != View::Inline).then(|| view.as_str().to_owned()), ..self.clone() }
    }

    pub fn of_kind(&self, kind: Option<Change>) -> Self {
        Self { kind: kind.map(|kind| kind.as_str().to_owned()), ..self.first_page() }
    }

    pub fn on_column(&self, column: Option<&str>) -> Self {
        Self { column: column.map(str::to_owned), ..self.first_page() }
    }

    pub fn searching(&self, q: Option<&str>) -> Self {
        Self { q: q.map(str::to_owned), ..self.first_page() }
    }

    pub fn ignoring(&self, column: &str) -> Self {
        let mut columns = self.ignored();
        columns.push(column);
        let column = self.column.clone().filter(|filtered| filtered != column);
        Self { ignore: Some(columns.join(",")), column, ..self.first_page() }
    }

    /// Lets go of one ignored column.
    pub fn regarding(&self, column: &str) -> Self {
        let columns: Vec<&str> = self.ignored().into_iter().filter(|name| *name != column).collect();
        Self { ignore: Some(columns.join(",")).filter(|columns| !columns.is_empty()), ..self.first_page() }
    }

    pub fn showing_only(&self, only: bool) -> Self {
        Self { only: Some(if only { "1" } else { "0" }.into()), ..self.clone() }
    }

    pub fn finding(&self, find: Option<&str>) -> Self {
        Self { find: find.map(str::to_owned), ..self.clone() }
    }

    pub fn on_page(&self, page: u32) -> Self {
        Self { page: (page > 1).then_some(page), next: None, ..self.clone() }
    }

    pub fn from_next(&self, next: &str) -> Self {
        Self { next: Some(next.to_owned()), page: Some(self.page() + 1), ..self.clone() }
    }

    fn first_page(&self) -> Self {
        Self { page: None, next: None, ..self.clone() }
    }

    /// The fields of the query, those that say nothing left out.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let page = self.page.filter(|page| *page > 1).map(|page| page.to_string());
        let all: [(_, Option<String>); 10] = [
            ("table", self.table.clone()),
            ("view", self.view.clone()),
            ("kind", self.kind.clone()),
            ("column", self.column.clone()),
            ("q", self.q.clone()),
            ("ignore", self.ignore.clone()),
            ("only", self.only.clone()),
            ("page", page),
            ("next", self.next.clone()),
            ("find", self.find.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The address of this place in the report of a comparison.
    pub fn link(&self, id: &DiffId) -> String {
        address(&format!("/diffs/{id}"), self.fields())
    }
}

/// An address with a query; without a `?` where there is none.
pub fn address(path: &str, fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_its_address_and_comes_back_from_it() {
        let id = DiffId::new();
        let place =
            Place::default().on_table("public.a&b=<c>").of_kind(Some(Change::Changed)).on_column(Some("é,\"x")).ignoring("updated_at");
        let link = place.link(&id);
        assert!(link.starts_with(&format!("/diffs/{id}?table=public.a%26b%3D%3Cc%3E&kind=changed")), "{link}");
        let back: Place = axum::extract::Query::try_from_uri(&link.parse().unwrap()).unwrap().0;
        assert_eq!(back, place);
        assert_eq!(Place::default().link(&id), format!("/diffs/{id}"));
    }

    #[test]
    fn a_change_of_filter_starts_at_the_first_page_and_keeps_the_rest() {
        let place = Place { table: Some("users".into()), page: Some(4), next: Some("x".into()), ..Place::default() };
        let filtered = place.ignoring("a").ignoring("b").of_kind(Some(Change::Added));
        assert_eq!((filtered.page(), filtered.next.clone(), filtered.ignored()), (1, None, vec!["a", "b"]));
        assert_eq!(filtered.regarding("a").regarding("b").ignore, None);
        assert_eq!(place.viewed(View::Side).page(), 4, "another layout shows the same rows");
        assert_eq!(filtered.on_table("orders").kind(), None, "a filter is of its table");
        assert_eq!(filtered.on_table("orders").ignored(), ["a", "b"], "noise is the same in each table");
    }

    #[test]
    fn nonsense_in_an_address_is_the_default() {
        let uri = "/diffs/x?view=upside-down&kind=7&only=&page=0".parse().unwrap();
        let place: Place = axum::extract::Query::try_from_uri(&uri).unwrap().0;
        assert_eq!((place.view(), place.kind(), place.page()), (View::Inline, None, 1));
    }
}
