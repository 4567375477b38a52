//! The page of one comparison.

use std::sync::Arc;

use axum::{extract::State, response::Html};

use super::{
    place::{Place, View},
    report::{Report, chosen_table},
};
use crate::{
    domain::{
        diff::{ChangePage, Diff},
        ids::DiffId,
        permissions::Permission,
    },
    error::Error,
    services::{Ctx, compare},
    web::{
        error::{Failure, message},
        extract::{Id, Query, User},
        html::{Layout, render},
        jobs::live::LiveLog,
    },
};

/// GET /diffs/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<DiffId>,
    Query(place): Query<Place>,
) -> Result<Html<String>, Failure> {
    let diff = compare::get(&ctx, &user, id).await?;
    let log = LiveLog::load(&ctx, &user, diff.job_id, diff.status.is_over(), format!("/diffs/{id}"), None).await?;
    let (rows, problem) = match rows(&ctx, &user, &diff, &place).await {
        Ok(rows) => (rows, None),
        // The rest of the page can be shown all the same.
        Err(error) => (None, Some((message(&error), error.hint))),
    };
    let layout = layout.titled(format!("What changed in {}", diff.database_name));
    Ok(render(&ctx, &Report::new(layout, diff, log, place, rows).with_problem(problem))?)
}

/// The page of changed rows that the place asks for. `None` where no table is chosen.
async fn rows(ctx: &Ctx, user: &User, diff: &Diff, place: &Place) -> Result<Option<ChangePage>, Error> {
    let Some(table) = diff.summary.as_ref().and_then(|summary| chosen_table(summary, place)) else {
        return match &place.table {
            Some(name) if diff.summary.is_some() => {
                Err(Error::not_found(format_args!("the table '{name}' in this comparison")).hint("choose one from the list"))
            }
            _ => Ok(None),
        };
    };
    if place.view() == View::Schema || table.changes() == 0 {
        return Ok(Some(ChangePage { table: table.name.clone(), total: Some(0), ..ChangePage::default() }));
    }
    if !user.may(Permission::Download) {
        return Err(Error::validation("your role sees how many rows changed, and not what is in them")
            .hint("ask an administrator for the role of an operator"));
    }
    compare::changes(ctx, user, diff.id, &place.filter(&table.name), place.request(), place.next.as_deref()).await.map(Some)
}
