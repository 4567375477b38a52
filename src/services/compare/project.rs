//! Changes as the database that they are written into can take them: turned around, and of the columns that it has.

use crate::{
    domain::restore::Direction,
    error::{Error, Result},
    snapshot::{Cell, ChangeKind, Key, Row, RowChange, Table},
};

/// One table's changes of one kind on their way into a target.
pub struct Projection {
    /// The target's table with the columns that are written.
    pub table: Table,
    /// Columns of the changes that the target has not.
    pub left_out: Vec<String>,
    /// Of each column of `table`: its place among the cells of the row that is there, and of the one that shall be.
    old: Vec<Option<usize>>,
    wanted: Vec<Option<usize>>,
}

/// A change in the direction in which it is written: `before` is what is expected to be there.
pub fn turned(change: RowChange, direction: Direction) -> RowChange {
    if direction == Direction::Apply {
        return change;
    }
    let kind = match change.kind {
        ChangeKind::Added => ChangeKind::Removed,
        ChangeKind::Removed => ChangeKind::Added,
        ChangeKind::Changed => ChangeKind::Changed,
    };
    RowChange { kind, before: change.after, after: change.before }
}

impl Projection {
    /// `old` and `wanted` are the tables that the rows of turned changes are of; one that is missing has no rows of this
    /// kind. Errors when the target has not the columns that name a row.
    pub fn of(kind: ChangeKind, old: Option<&Table>, wanted: Option<&Table>, target: &Table) -> Result<Self> {
        let names: Vec<&Table> = match kind {
            ChangeKind::Added => wanted.into_iter().collect(),
            ChangeKind::Removed => old.into_iter().collect(),
            ChangeKind::Changed => wanted.into_iter().chain(old).collect(),
        };
        let first = *names.first().ok_or_else(|| Error::internal("a change of a table that neither side has"))?;
        let has = |table: &Table, name: &str| table.stored().any(|column| column.name == name);
        let columns: Vec<_> = target.stored().filter(|column| names.iter().all(|table| has(table, &column.name))).cloned().collect();
        if let Key::Columns { columns: key } = &first.key
            && let Some(missing) = key.iter().find(|name| !columns.iter().any(|column| column.name == **name))
        {
            return Err(Error::conflict(format!("{} has no column '{missing}', which names the rows to write", target.name))
                .hint("choose a target with the same table, or restore the table as a whole"));
        }
        let left_out = first.stored().filter(|column| !columns.iter().any(|kept| kept.name == column.name));
        let place = |table: Option<&Table>, name: &str| table.and_then(|table| table.stored().position(|column| column.name == name));
        Ok(Self {
            left_out: left_out.map(|column| column.name.clone()).collect(),
            old: columns.iter().map(|column| place(old, &column.name)).collect(),
            wanted: columns.iter().map(|column| place(wanted, &column.name)).collect(),
            table: Table { columns, key: first.key.clone(), ..target.clone() },
        })
    }

    /// The change with the cells of [`Projection::table`]; `None` when nothing of it is left to write.
    pub fn change(&self, change: RowChange) -> Option<RowChange> {
        let before = change.before.map(|row| pick(row, &self.old));
        let after = change.after.map(|row| pick(row, &self.wanted));
        (before != after).then_some(RowChange { kind: change.kind, before, after })
    }
}

fn pick(row: Row, places: &[Option<usize>]) -> Row {
    let cell = |place: &Option<usize>| -> Cell { place.and_then(|at| row.cells.get(at).cloned()).flatten() };
    Row { cells: places.iter().map(cell).collect(), count: row.count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Class, Column, TableName};

    fn table(columns: &[&str], key: &[&str]) -> Table {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_name: "text".into(),
            class: Class::Text,
            nullable: true,
            default: None,
            generated: None,
            options: Default::default(),
        };
        Table {
            name: TableName::new(None, "t"),
            columns: columns.iter().map(column).collect(),
            key: Key::Columns { columns: key.iter().map(|name| (*name).to_owned()).collect() },
            definition: String::new(),
            options: Default::default(),
        }
    }

    fn row(cells: &[&str]) -> Row {
        Row { cells: cells.iter().map(|cell| Some(cell.as_bytes().to_vec().into())).collect(), count: 1 }
    }

    #[test]
    fn a_change_takes_the_order_and_the_columns_of_its_target() {
        let (old, wanted, target) =
            (table(&["id", "a", "gone"], &["id"]), table(&["id", "new", "a"], &["id"]), table(&["a", "id"], &["id"]));
        let projection = Projection::of(ChangeKind::Changed, Some(&old), Some(&wanted), &target).unwrap();
        let change = RowChange { kind: ChangeKind::Changed, before: Some(row(&["1", "x", "g"])), after: Some(row(&["1", "n", "y"])) };
        let written = projection.change(change.clone()).unwrap();
        assert_eq!((written.before, written.after), (Some(row(&["x", "1"])), Some(row(&["y", "1"]))));
        assert_eq!(projection.left_out, ["new"]);
        let same = RowChange { after: Some(row(&["1", "n", "x"])), ..change };
        assert_eq!(projection.change(same), None, "what differs only where the target has nothing is no change");
        assert!(Projection::of(ChangeKind::Added, None, Some(&wanted), &table(&["a"], &["a"])).is_err());
    }

    #[test]
    fn reverting_takes_away_what_was_added() {
        let added = RowChange { kind: ChangeKind::Added, before: None, after: Some(row(&["1"])) };
        let turned = turned(added, Direction::Revert);
        assert_eq!((turned.kind, turned.before, turned.after), (ChangeKind::Removed, Some(row(&["1"])), None));
    }
}
