//! What one row was in every backup, as the page draws it.

use crate::{
    domain::{
        browse::RowVersion,
        diff::{CellView, Change, ValueView},
        time::Moment,
    },
    web::compare::cells::{self, Piece},
};

/// One moment at which the row changed.
pub struct Version {
    pub link: String,
    pub moment: Moment,
    pub change: Change,
    /// `added` says little of the oldest: it may have been there before.
    pub oldest: bool,
    /// Backups in a row that have it so.
    pub snapshots: u32,
    /// Column and what it was and became; of the oldest, nothing.
    pub cells: Vec<(String, Vec<Piece>)>,
}

/// The versions of a row, the newest first as they come.
pub fn versions(list: &[RowVersion]) -> Vec<Version> {
    let version = |(at, version): (usize, &RowVersion)| {
        let earlier = list.get(at + 1);
        let cells = match (version.change, earlier) {
            (Change::Changed, Some(earlier)) => version.changed.iter().map(|name| (name.clone(), change(name, earlier, version))).collect(),
            _ => Vec::new(),
        };
        Version {
            link: format!("/backups/{}", version.backup_id),
            moment: version.moment,
            change: version.change,
            oldest: earlier.is_none(),
            snapshots: version.snapshots,
            cells,
        }
    };
    list.iter().enumerate().map(version).collect()
}

fn change(name: &str, before: &RowVersion, after: &RowVersion) -> Vec<Piece> {
    let class =
        after.columns.iter().chain(&before.columns).find(|column| column.name == name).map_or("text", |column| column.class.as_str());
    let view = CellView { changed: true, before: value(name, before), after: value(name, after), paths: Vec::new() };
    cells::cell(&view, Change::Changed, class).pieces
}

fn value(name: &str, version: &RowVersion) -> Option<ValueView> {
    let at = version.columns.iter().position(|column| column.name == name)?;
    version.row.as_ref()?.cells.get(at).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        browse::{RowColumn, RowView},
        ids::BackupId,
    };

    fn seen(change: Change, texts: Option<&[&str]>, changed: &[&str]) -> RowVersion {
        let column = |name: &str| RowColumn { name: name.into(), type_name: "text".into(), class: "text".into(), key: name == "id" };
        let cell = |text: &&str| ValueView { text: Some((*text).to_owned()), bytes: text.len() as u64, cut: false };
        RowVersion {
            backup_id: BackupId::new(),
            moment: Moment(0),
            change,
            columns: vec![column("id"), column("plan")],
            row: texts.map(|texts| RowView { key: "1".into(), cells: texts.iter().map(cell).collect(), count: 1 }),
            changed: changed.iter().map(|name| (*name).to_owned()).collect(),
            snapshots: 2,
        }
    }

    #[test]
    fn each_version_shows_what_it_changed() {
        let list = [
            seen(Change::Removed, None, &[]),
            seen(Change::Changed, Some(&["1", "pro"]), &["plan"]),
            seen(Change::Added, Some(&["1", "free"]), &[]),
        ];
        let drawn = versions(&list);
        assert_eq!(drawn.iter().map(|version| version.cells.len()).collect::<Vec<_>>(), [0, 1, 0]);
        let texts: Vec<_> = drawn[1].cells[0].1.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(texts, ["free", "→", "pro"]);
        assert_eq!(drawn.iter().map(|version| version.oldest).collect::<Vec<_>>(), [false, false, true]);
    }
}
