//! Cells of changed rows as the page draws them: which pieces are the same, which are old and which are new.

use super::{
    marks::marks,
    tree::{self, Step},
};
use crate::domain::diff::{CellView, Change, ValueView};

/// How a piece of a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Same,
    Old,
    New,
    /// Between a whole old value and a whole new one.
    Arrow,
}

/// One piece of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub look: Look,
    pub text: String,
    /// It is a word about the value, such as NULL, and not the value.
    pub word: bool,
}

/// A cell of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    pub changed: bool,
    pub pieces: Vec<Piece>,
    /// Changes inside a document, in place of the pieces.
    pub steps: Vec<Step>,
    /// Changes in `steps`.
    pub inside: usize,
    /// Not all of the value is here.
    pub cut: bool,
}

/// One side of a cell, for the layout with a column for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Half {
    pub pieces: Vec<Piece>,
    /// Size of the whole value, bytes, where it is not all here.
    pub more: Option<u64>,
    /// The side has no such row or column.
    pub absent: bool,
}

/// How much of a value a layout has room for, characters.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Of a whole value, and of a changed part.
    pub value: usize,
    /// Of what is the same around a changed part.
    pub around: usize,
}

pub const TIGHT: Room = Room { value: 80, around: 24 };
pub const WIDE: Room = Room { value: 4000, around: 400 };

/// A cell with old and new in it.
pub fn cell(view: &CellView, kind: Change, class: &str) -> Cell {
    let changed = view.changed && kind == Change::Changed;
    let cut = [&view.before, &view.after].into_iter().flatten().any(|value| is_cut(value, TIGHT));
    if !changed {
        let value = if kind == Change::Removed { view.before.as_ref() } else { view.after.as_ref().or(view.before.as_ref()) };
        let pieces = value.map(|value| vec![whole(value, Look::Same, TIGHT)]).unwrap_or_default();
        return Cell { pieces, cut, ..Cell::default() };
    }
    if !view.paths.is_empty() {
        return Cell { changed, steps: tree::steps(&view.paths), inside: view.paths.len(), ..Cell::default() };
    }
    let marked = marked(view, class, TIGHT).map(|[start, old, new, end]| vec![start, old, new, end]);
    let pieces = marked.unwrap_or_else(|| {
        let side = |value: &Option<ValueView>, look| match value {
            Some(value) => whole(value, look, TIGHT),
            None => Piece { look, text: "no such column".into(), word: true },
        };
        vec![side(&view.before, Look::Old), Piece { look: Look::Arrow, text: "→".into(), word: false }, side(&view.after, Look::New)]
    });
    Cell { changed, pieces: filled(pieces), cut, ..Cell::default() }
}

/// A value that nothing is compared with.
pub fn plain(value: &ValueView, room: Room) -> Cell {
    Cell { pieces: vec![whole(value, Look::Same, room)], cut: is_cut(value, room), ..Cell::default() }
}

/// The two sides of a cell.
pub fn halves(view: &CellView, kind: Change, class: &str) -> (Half, Half) {
    let changed = view.changed && kind == Change::Changed;
    if changed && let Some([start, old, new, end]) = marked(view, class, WIDE) {
        let half = |middle, value: &Option<ValueView>| Half {
            pieces: filled(vec![start.clone(), middle, end.clone()]),
            more: value.as_ref().filter(|value| is_cut(value, WIDE)).map(|value| value.bytes),
            absent: false,
        };
        return (half(old, &view.before), half(new, &view.after));
    }
    let half = |value: &Option<ValueView>, look| match value {
        Some(value) => {
            let look = if changed { look } else { Look::Same };
            Half { pieces: vec![whole(value, look, WIDE)], more: is_cut(value, WIDE).then_some(value.bytes), absent: false }
        }
        None => Half { absent: true, ..Half::default() },
    };
    (half(&view.before, Look::Old), half(&view.after, Look::New))
}

/// A whole value, or its beginning.
fn whole(value: &ValueView, look: Look, room: Room) -> Piece {
    match value.text.as_deref() {
        None => Piece { look, text: "NULL".into(), word: true },
        Some("") => Piece { look, text: "empty".into(), word: true },
        Some(text) => {
            let mut short = first(text, room.value);
            if value.cut && !short.ends_with('…') {
                short.push('…');
            }
            Piece { look, text: short, word: false }
        }
    }
}

/// The pieces of a text that changed in part: start, old, new, end. `None` where the whole tells more.
fn marked(view: &CellView, class: &str, room: Room) -> Option<[Piece; 4]> {
    // Of a number or a truth value the digits mean nothing by themselves.
    if matches!(class, "integer" | "decimal" | "float" | "boolean" | "number") {
        return None;
    }
    let (before, after) = (view.before.as_ref()?, view.after.as_ref()?);
    if before.cut || after.cut {
        return None;
    }
    let marks = marks(before.text.as_deref()?, after.text.as_deref()?);
    let piece = |look, text| Piece { look, text, word: false };
    marks.are_telling().then(|| {
        [
            piece(Look::Same, last(marks.start, room.around)),
            piece(Look::Old, first(marks.old, room.value)),
            piece(Look::New, first(marks.new, room.value)),
            piece(Look::Same, first(marks.end, room.around)),
        ]
    })
}

fn filled(pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.into_iter().filter(|piece| !piece.text.is_empty()).collect()
}

fn is_cut(value: &ValueView, room: Room) -> bool {
    value.cut || value.text.as_deref().is_some_and(|text| text.chars().nth(room.value).is_some())
}

fn first(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn last(text: &str, most: usize) -> String {
    let skipped = text.chars().count().saturating_sub(most);
    match text.char_indices().nth(skipped) {
        Some((start, _)) if skipped > 0 => format!("…{}", &text[start..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diff::PathChange;

    fn value(text: Option<&str>) -> Option<ValueView> {
        Some(ValueView { text: text.map(str::to_owned), bytes: text.map_or(0, str::len) as u64, cut: false })
    }

    fn changed(before: Option<&str>, after: Option<&str>) -> CellView {
        CellView { changed: true, before: value(before), after: value(after), paths: Vec::new() }
    }

    fn read(pieces: &[Piece]) -> String {
        let read = |piece: &Piece| match piece.look {
            Look::Same => piece.text.clone(),
            Look::Old => format!("[-{}]", piece.text),
            Look::New => format!("[+{}]", piece.text),
            Look::Arrow => " → ".into(),
        };
        pieces.iter().map(read).collect()
    }

    #[test]
    fn texts_are_marked_and_numbers_shown_whole() {
        let text = |before, after, class| read(&cell(&changed(before, after), Change::Changed, class).pieces);
        assert_eq!(text(Some("m.schmid@firma.de"), Some("m.schmidt@firma.de"), "text"), "m.[-schmid][+schmidt]@firma.de");
        assert_eq!(text(Some("1000001"), Some("1000002"), "integer"), "[-1000001] → [+1000002]");
        assert_eq!(text(None, Some("NULL"), "text"), "[-NULL] → [+NULL]");
        assert_eq!(text(Some(""), Some("x"), "text"), "[-empty] → [+x]");
    }

    #[test]
    fn a_null_and_the_text_null_look_different() {
        let drawn = cell(&changed(None, Some("NULL")), Change::Changed, "text");
        assert_eq!([drawn.pieces[0].word, drawn.pieces[2].word], [true, false]);
    }

    #[test]
    fn a_long_text_shows_what_stands_around_the_change() {
        let (before, after) = (format!("{}old{}", "a".repeat(500), "b".repeat(500)), format!("{}new{}", "a".repeat(500), "b".repeat(500)));
        let drawn = read(&cell(&changed(Some(&before), Some(&after)), Change::Changed, "text").pieces);
        assert_eq!(drawn, format!("…{}[-old][+new]{}…", "a".repeat(24), "b".repeat(24)));
    }

    #[test]
    fn a_row_that_came_or_went_has_one_value_in_each_cell() {
        let added = CellView { changed: true, before: None, after: value(Some("x")), paths: Vec::new() };
        assert_eq!(read(&cell(&added, Change::Added, "text").pieces), "x");
        let (before, after) = halves(&added, Change::Added, "text");
        assert!(before.absent && !after.absent);
        let removed = CellView { changed: true, before: value(Some("y")), after: None, paths: Vec::new() };
        assert_eq!(read(&cell(&removed, Change::Removed, "text").pieces), "y");
    }

    #[test]
    fn side_by_side_each_half_has_its_own_part() {
        let (before, after) = halves(&changed(Some("anna@old.com"), Some("anna@new.com")), Change::Changed, "text");
        assert_eq!([read(&before.pieces), read(&after.pieces)], ["anna@[-old].com", "anna@[+new].com"]);
    }

    #[test]
    fn what_is_cut_says_so_with_its_size() {
        let long = ValueView { text: Some("x".repeat(4096)), bytes: 10_000_000, cut: true };
        let view = CellView { changed: true, before: Some(long), after: value(Some("y")), paths: Vec::new() };
        assert!(cell(&view, Change::Changed, "text").cut);
        assert_eq!(halves(&view, Change::Changed, "text").0.more, Some(10_000_000));
    }

    #[test]
    fn a_document_shows_its_paths() {
        let path =
            PathChange { path: "/a".into(), change: Change::Changed, order: false, before: Some("1".into()), after: Some("2".into()) };
        let drawn = cell(&CellView { paths: vec![path], ..changed(Some("{}"), Some("{}")) }, Change::Changed, "json");
        assert_eq!((drawn.inside, drawn.pieces.is_empty(), drawn.steps.len()), (1, true, 1));
    }
}
