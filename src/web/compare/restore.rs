//! Writing chosen rows of a comparison into a database: where and how, then what will happen, then a dry run or the real one.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};

use super::place::{Place, View};
use crate::{
    domain::{
        amount,
        diff::{Change, ChangeFilter, Diff},
        filter::DatabaseFilter,
        ids::{DatabaseId, DiffId},
        page::PageRequest,
        permissions::Permission,
        restore::{Direction, OnConflict, Restore, RestorePlan},
    },
    error::{Error, Result},
    services::{
        Ctx,
        compare::{self, RowRestoreRequest},
        databases::{self, DatabaseView},
        restore,
    },
    web::{
        error::{Failure, message, status},
        extract::{Form, Id, User},
        filters,
        html::{Layout, render},
    },
};

/// What of a sent form is the choice of rows.
const CHOICE: [&str; 7] = ["table", "at", "all", "kind", "column", "q", "ignore"];

/// The chosen rows, in words and as a form carries them on.
struct Choice {
    words: String,
    fields: Vec<(String, String)>,
    /// Where they were chosen.
    back: String,
}

#[derive(Template)]
#[template(path = "pages/compare/restore.html")]
struct Plan {
    layout: Layout,
    diff: Diff,
    choice: Choice,
    databases: Vec<DatabaseView>,
    request: RowRestoreRequest,
    problem: Option<(String, Option<String>)>,
}

#[derive(Template)]
#[template(path = "pages/compare/confirm.html")]
struct Confirm {
    layout: Layout,
    diff: Diff,
    choice: Choice,
    target: DatabaseView,
    /// What has to be typed.
    label: String,
    request: RowRestoreRequest,
    carried: Vec<(String, String)>,
    problem: Option<(String, Option<String>)>,
}

/// POST /diffs/{id}/restore: where the rows go, and how.
pub async fn plan(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<DiffId>, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Restore)?;
    Ok(plan_page(&ctx, &user, layout, id, &form, None).await?.into_response())
}

/// POST /diffs/{id}/restore/check: what will happen.
pub async fn check(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<DiffId>, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Restore)?;
    match read(&form) {
        Ok(request) => Ok(confirm_page(&ctx, &user, layout, id, &form, request, None).await?.into_response()),
        Err(error) => {
            let page = plan_page(&ctx, &user, layout, id, &form, Some(&error)).await?;
            Ok((status(&error), page).into_response())
        }
    }
}

/// POST /diffs/{id}/restore/start: the dry run, or the restore itself.
pub async fn start(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<DiffId>, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Restore)?;
    let request = read(&form)?;
    match compare::restore_rows(&ctx, &user, id, request.clone()).await {
        Ok(restore) => Ok(Redirect::to(&format!("/restores/{}", restore.id)).into_response()),
        Err(error) => {
            let page = confirm_page(&ctx, &user, layout, id, &form, request, Some(&error)).await?;
            Ok((status(&error), page).into_response())
        }
    }
}

async fn plan_page(ctx: &Arc<Ctx>, user: &User, layout: Layout, id: DiffId, form: &Form, error: Option<&Error>) -> Result<Html<String>> {
    let diff = compare::get(ctx, user, id).await?;
    let choice = choice(&diff, form)?;
    let filter = DatabaseFilter { engine: Some(diff.engine.clone()), ..DatabaseFilter::default() };
    let databases = databases::list(ctx, user, &filter, PageRequest { page: 1, limit: 200 }).await?.items;
    let own = diff.database_id.or(databases.first().map(|database| database.id));
    let request = read(form).unwrap_or(RowRestoreRequest {
        table: None,
        at: Vec::new(),
        filter: None,
        direction: Direction::Revert,
        database_id: own.ok_or_else(|| {
            Error::conflict("no database of this engine is configured to write into").hint("add one under Databases first")
        })?,
        target_name: None,
        on_conflict: OnConflict::Stop,
        dry_run: false,
        safety_backup: false,
        confirm: String::new(),
    });
    let problem = error.map(|error| (message(error), error.hint.clone()));
    render(ctx, &Plan { layout: layout.titled("Restore chosen rows"), diff, choice, databases, request, problem })
}

async fn confirm_page(
    ctx: &Arc<Ctx>,
    user: &User,
    layout: Layout,
    id: DiffId,
    form: &Form,
    request: RowRestoreRequest,
    error: Option<&Error>,
) -> Result<Html<String>> {
    let diff = compare::get(ctx, user, id).await?;
    let choice = choice(&diff, form)?;
    let target = databases::get(ctx, user, request.database_id).await?;
    let plan = RestorePlan { target_name: request.target_name.clone(), ..RestorePlan::default() };
    let label = restore::target_label(ctx, user, request.database_id, &plan).await?;
    let carried = form.0.iter().filter(|field| field.0 != "confirm" && field.0 != "dryRun").cloned().collect();
    let problem = error.map(|error| (message(error), error.hint.clone()));
    render(ctx, &Confirm { layout: layout.titled("Restore chosen rows"), diff, choice, target, label, request, carried, problem })
}

/// The request that a sent form stands for. Errors when no target was chosen.
fn read(form: &Form) -> Result<RowRestoreRequest> {
    let database_id: DatabaseId = form.parse("database")?.ok_or_else(|| Error::validation("no target was chosen"))?;
    let all = form.has("all");
    Ok(RowRestoreRequest {
        table: Some(form.text("table")).filter(|table| !table.is_empty()).map(str::to_owned),
        at: if all { Vec::new() } else { places(form)? },
        filter: all.then(|| filter(form)).transpose()?,
        direction: form.parse("direction")?.unwrap_or(Direction::Revert),
        database_id,
        target_name: Some(form.text("targetName")).filter(|name| !name.is_empty()).map(str::to_owned),
        on_conflict: match form.text("onConflict") {
            "skip" => OnConflict::Skip,
            "overwrite" => OnConflict::Overwrite,
            _ => OnConflict::Stop,
        },
        dry_run: form.has("dryRun"),
        safety_backup: form.has("safetyBackup"),
        confirm: form.text("confirm").to_owned(),
    })
}

fn places(form: &Form) -> Result<Vec<u64>> {
    let place = |text: &str| text.parse().map_err(|_| Error::validation(format!("'{text}' is not the place of a change")));
    form.all("at").map(place).collect()
}

fn filter(form: &Form) -> Result<ChangeFilter> {
    let text = |name: &str| Some(form.text(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(ChangeFilter {
        table: text("table"),
        kind: form.parse::<Change>("kind")?,
        column: text("column"),
        q: text("q"),
        ignore: text("ignore"),
    })
}

/// The choice of rows in a sent form. Errors when none is chosen.
fn choice(diff: &Diff, form: &Form) -> Result<Choice> {
    let (table, places, all) = (form.text("table"), places(form)?, form.has("all"));
    if !all && places.is_empty() {
        return Err(Error::validation("no row was chosen").hint("go back and tick rows, or all rows of the table"));
    }
    let filter = filter(form)?;
    let narrowed = filter.kind.is_some() || filter.column.is_some() || filter.q.is_some() || filter.ignore.is_some();
    let words = match (all, narrowed) {
        (true, true) => "every changed row that the filter takes".to_owned(),
        (true, false) => "every changed row".to_owned(),
        (false, _) if places.len() == 1 => "1 row".to_owned(),
        (false, _) => format!("{} rows", amount::grouped(&places.len().to_string())),
    };
    let words = if table.is_empty() { format!("{words} of every table") } else { format!("{words} of {table}") };
    let back = Place::default().on_table(table).viewed(View::Inline).of_kind(filter.kind);
    let back = filter.ignore.iter().flat_map(|ignore| ignore.split(',')).fold(back, |back, column| back.ignoring(column));
    let back = back.on_column(filter.column.as_deref()).searching(filter.q.as_deref()).link(&diff.id);
    let fields = form.0.iter().filter(|field| CHOICE.contains(&field.0.as_str())).cloned().collect();
    Ok(Choice { words, fields, back })
}

/// The form that asks for the same restore again, not as a dry run.
pub fn fields(restore: &Restore) -> Vec<(&'static str, String)> {
    let Some(rows) = &restore.plan.rows else { return Vec::new() };
    let filter = rows.filter.clone().unwrap_or_default();
    let conflict = conflict_text(&rows.on_conflict).0;
    let mut fields: Vec<(&'static str, String)> = rows.at.iter().map(|at| ("at", at.to_string())).collect();
    let optional = [
        ("all", rows.at.is_empty().then(|| "true".to_owned())),
        ("table", rows.table.clone()),
        ("kind", filter.kind.map(|kind| kind.to_string())),
        ("column", filter.column),
        ("q", filter.q),
        ("ignore", filter.ignore),
        ("direction", Some(rows.direction.to_string())),
        ("database", restore.database_id.map(|id| id.to_string())),
        ("targetName", restore.plan.target_name.clone()),
        ("onConflict", Some(conflict.to_owned())),
        ("safetyBackup", restore.plan.safety_backup.then(|| "true".to_owned())),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

/// What a direction does, title and explanation.
fn direction_text(direction: &Direction, diff: &Diff) -> (&'static str, String) {
    match direction {
        Direction::Revert => ("Bring back what was before", format!("Rows get the values of {} again.", diff.before_label)),
        Direction::Apply => ("Make what is after", format!("Rows get the values of {}.", diff.after_label)),
    }
}

fn conflict_text(conflict: &OnConflict) -> (&'static str, &'static str, &'static str) {
    match conflict {
        OnConflict::Stop => ("stop", "Stop", "Nothing is written at all, and the rows are told."),
        OnConflict::Skip => ("skip", "Leave it alone", "The other rows are written, and the rows left alone are told."),
        OnConflict::Overwrite => ("overwrite", "Overwrite it", "The row gets the values of the comparison, whatever it holds now."),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    fn form(fields: &[(&str, &str)]) -> Form {
        Form(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn ticked_rows_and_whole_filters_are_told_apart() {
        let database = DatabaseId::new().to_string();
        let chosen = form(&[("table", "users"), ("at", "3"), ("at", "5"), ("database", &database), ("kind", "changed")]);
        let request = read(&chosen).unwrap();
        assert_eq!((request.at, request.filter), (vec![3, 5], None));
        assert_eq!(choice(&samples::diff(), &chosen).unwrap().words, "2 rows of users");

        let all =
            form(&[("table", "users"), ("at", "3"), ("all", "true"), ("database", &database), ("kind", "changed"), ("onConflict", "skip")]);
        let request = read(&all).unwrap();
        assert_eq!((request.at.len(), request.filter.unwrap().kind, request.on_conflict), (0, Some(Change::Changed), OnConflict::Skip));
        assert_eq!(choice(&samples::diff(), &all).unwrap().words, "every changed row that the filter takes of users");
    }

    #[test]
    fn a_choice_of_nothing_is_refused() {
        assert!(choice(&samples::diff(), &form(&[("table", "users")])).is_err());
        assert!(places(&form(&[("at", "x")])).is_err());
        assert!(read(&form(&[("table", "users"), ("at", "1")])).is_err(), "no target");
    }
}
