//! The changes of a comparison as a file: statements, JSON, or lines of a table.

use super::{
    phases::phases,
    project::{Projection, turned},
    reports,
};
use crate::{
    db,
    diff::{self, Report},
    domain::{
        diff::{ChangeFilter, Diff, DiffSummary, PatchFormat, SideFacts},
        ids::DiffId,
        naming,
        permissions::{Actor, Permission},
        restore::Direction,
        stream::ByteStream,
    },
    engines::{self, Engine},
    error::{Error, Result},
    services::{
        Ctx, audit,
        backup::Download,
        exports::{self, Out, text},
    },
    snapshot::{ChangeKind, Class, Row, Table},
};

/// What a patch is of.
pub struct Wanted {
    pub engine: &'static dyn Engine,
    pub database: String,
    pub format: PatchFormat,
    pub direction: Direction,
    pub filter: ChangeFilter,
}

/// A patch that makes the first side the second (`apply`) or the second the first (`revert`), of the changes that `filter`
/// takes. Errors for SQL where the engine has no such language.
pub async fn patch(
    ctx: &Ctx,
    actor: &Actor,
    id: DiffId,
    format: PatchFormat,
    direction: Direction,
    filter: &ChangeFilter,
) -> Result<Download> {
    actor.require(Permission::Download)?;
    let diff = completed(ctx, actor, id).await?;
    let wanted =
        Wanted { engine: engines::find(&diff.engine)?, database: diff.database_name.clone(), format, direction, filter: filter.clone() };
    wanted.check()?;
    let summary = diff.summary.clone().unwrap_or_default();
    let report = reports::read(ctx, &diff, |report| Ok(report.clone())).await?;
    audit::record(ctx, actor, "diff.patch", id, serde_json::json!({ "format": format, "direction": direction, "table": filter.table }))
        .await?;
    let file_name = format!("{}_{direction}_{}.{}", naming::safe_name(&diff.database_name), id.short(), extension(format));
    Ok(Download { file_name, size: None, stream: patch_stream(report, summary, wanted) })
}

/// A patch as it is written, for the command line.
pub fn patch_stream(report: Report, summary: DiffSummary, wanted: Wanted) -> ByteStream {
    exports::stream(move |out| write(&report, &summary, &wanted, out))
}

/// All changes of one table as CSV or as JSON lines, for an export.
pub async fn table_text(ctx: &Ctx, actor: &Actor, id: DiffId, filter: &ChangeFilter, csv: bool) -> Result<ByteStream> {
    actor.require(Permission::Download)?;
    let diff = completed(ctx, actor, id).await?;
    let filter = filter.clone();
    let report = reports::read(ctx, &diff, |report| Ok(report.clone())).await?;
    Ok(exports::stream(move |out| write_lines(&report, &filter, csv, out)))
}

async fn completed(ctx: &Ctx, actor: &Actor, id: DiffId) -> Result<Diff> {
    let diff = db::diffs::get(&ctx.db, actor.organization_id, id).await?;
    if diff.summary.is_none() || diff.finished_at.is_none() {
        return Err(Error::conflict(format!("the comparison is {}: only a completed one can be made use of", diff.status)));
    }
    Ok(diff)
}

fn extension(format: PatchFormat) -> &'static str {
    match format {
        PatchFormat::Sql => "sql",
        PatchFormat::Json => "json",
    }
}

impl Wanted {
    /// Errors for SQL where the engine has none.
    pub fn check(&self) -> Result<()> {
        if self.format == PatchFormat::Sql && self.engine.script().is_none() {
            return Err(Error::validation(format!("{} has no SQL", self.engine.info().label)).hint("choose the format json"));
        }
        Ok(())
    }
}

/// The tables of a summary that have changes and that the filter takes.
pub fn changed_tables<'a>(summary: &'a DiffSummary, filter: &'a ChangeFilter) -> Result<Vec<&'a str>> {
    let known = |name: &String| summary.tables.iter().any(|table| table.name == *name);
    if let Some(missing) = filter.table.as_ref().filter(|name| !known(name)) {
        return Err(Error::not_found(format_args!("the table {missing} in this comparison")));
    }
    let wanted = summary.tables.iter().filter(|table| table.changes() > 0 && filter.table.as_ref().is_none_or(|name| *name == table.name));
    Ok(wanted.map(|table| table.name.as_str()).collect())
}

/// Writes a patch.
fn write(report: &Report, summary: &DiffSummary, wanted: &Wanted, out: &mut Out) -> Result<()> {
    match wanted.format {
        PatchFormat::Sql => write_sql(report, summary, wanted, out),
        PatchFormat::Json => write_json(report, summary, wanted, out),
    }
}

fn write_sql(report: &Report, summary: &DiffSummary, wanted: &Wanted, out: &mut Out) -> Result<()> {
    let script = wanted.engine.script().ok_or_else(|| Error::internal("a patch in a language that the engine has not"))?;
    let tables = changed_tables(summary, &wanted.filter)?;
    let (from, to) = moments(summary, wanted.direction);
    out.push(&script.begin(&format!("{}: makes {from} what {to} was", wanted.database)))?;
    for change in &summary.schema {
        out.push(&format!("-- not in this patch: {}\n", one_line(&change.text)))?;
    }
    for phase in phases(wanted.engine, tables.len(), |_| true) {
        let name = tables[phase.table];
        let (before, after) = report.tables(name)?;
        let (old, new) = sides(before.as_ref(), after.as_ref(), wanted.direction);
        // A patch is for the database as it was on the old side; a table that is new there is made by hand first.
        let Some(target) = old.or(new) else { continue };
        let mut projection = None;
        for change in report.changes(name, &wanted.filter)? {
            let change = turned(change?.1, wanted.direction);
            if change.kind != phase.kind {
                continue;
            }
            let projection = match &mut projection {
                Some(projection) => projection,
                none => none.insert(Projection::of(phase.kind, old, new, target)?),
            };
            if let Some(change) = projection.change(change) {
                out.push(&script.change(&projection.table, &change)?)?;
            }
        }
    }
    out.push(&script.end())
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The tables of the side that is there and of the one that shall be.
pub fn sides<T>(before: T, after: T, direction: Direction) -> (T, T) {
    if direction == Direction::Apply { (before, after) } else { (after, before) }
}

fn write_json(report: &Report, summary: &DiffSummary, wanted: &Wanted, out: &mut Out) -> Result<()> {
    changed_tables(summary, &wanted.filter)?;
    let (from, to) = moments(summary, wanted.direction);
    let direction = if wanted.direction == Direction::Apply { diff::Direction::Apply } else { diff::Direction::Revert };
    for piece in diff::json_patch(report, &wanted.filter, direction, &from, &to)? {
        out.push(&piece?)?;
    }
    Ok(())
}

/// What there is and what shall be, in words.
fn moments(summary: &DiffSummary, direction: Direction) -> (String, String) {
    let moment = |side: &SideFacts| side.moment.map_or_else(|| side.label.clone(), |moment| format!("{} ({moment})", side.label));
    sides(moment(&summary.provenance.before), moment(&summary.provenance.after), direction)
}

/// A line for each side of each change: what happened, then the row.
fn write_lines(report: &Report, filter: &ChangeFilter, csv: bool, out: &mut Out) -> Result<()> {
    let table = filter.table.as_deref().unwrap_or_default();
    let (before, after) = report.tables(table)?;
    let columns = |side: &Option<Table>| -> Vec<(String, Class)> {
        side.iter().flat_map(Table::stored).map(|column| (column.name.clone(), column.class)).collect()
    };
    let (ours, theirs) = (columns(&before), columns(&after));
    // Columns of both sides under one heading, those before first.
    let mut names: Vec<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(theirs.iter().map(|(name, _)| name.as_str()).filter(|name| !ours.iter().any(|(other, _)| other == name)));
    if csv {
        let mut head = vec![("change", Class::Text), ("side", Class::Text)];
        head.extend(names.iter().map(|name| (*name, Class::Text)));
        exports::header(&head, out)?;
    }
    for change in report.changes(table, filter)? {
        let change = change?.1;
        let word = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        };
        let sides = [("before", change.before.as_ref(), &ours), ("after", change.after.as_ref(), &theirs)];
        if csv {
            for (side, row, columns) in sides {
                let Some(row) = row else { continue };
                out.text().push_str(&format!("{word},{side}"));
                csv_cells(&names, columns, row, out.text())?;
                out.push("\r\n")?;
            }
        } else {
            out.text().push_str(&format!("{{\"change\":\"{word}\""));
            for (side, row, columns) in sides {
                let Some(row) = row else { continue };
                out.text().push_str(&format!(",\"{side}\":"));
                let columns: Vec<_> = columns.iter().map(|(name, class)| (name.as_str(), *class)).collect();
                exports::json_object(&columns, row, out.text())?;
            }
            out.push("}\n")?;
        }
    }
    Ok(())
}

fn csv_cells(names: &[&str], columns: &[(String, Class)], row: &Row, out: &mut String) -> Result<()> {
    for name in names {
        out.push(',');
        if let Some(at) = columns.iter().position(|(other, _)| other == name) {
            text::csv(out, columns[at].1, row.cells.get(at).and_then(|cell| cell.as_deref()))?;
        }
    }
    Ok(())
}
