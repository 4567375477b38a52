//! The databases that a notifier is told of: chosen by name, however many there are.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};

use super::{change, form::NotifierForm};
use crate::{
    domain::{
        filter::DatabaseFilter,
        ids::DatabaseId,
        page::PageRequest,
        permissions::{Actor, Permission},
    },
    error::{Error, Kind, Result},
    services::{Ctx, databases, notices::notifiers},
    web::{
        error::{Failure, status},
        extract::{Form, Htmx, Query, User},
        html::{Layout, render},
    },
};

/// Names that are suggested at a time.
const SUGGESTED: u32 = 50;

/// The part of the form.
pub struct OnlyOf {
    pub chosen: Vec<(DatabaseId, String)>,
    pub suggested: Vec<String>,
    /// Names as they were typed that are no database.
    pub typed: String,
    pub problem: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/notifiers/databases.html")]
struct Part {
    of: OnlyOf,
}

#[derive(Template)]
#[template(path = "pages/notifiers/options.html")]
struct Options {
    names: Vec<String>,
}

/// What is typed.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Typed {
    database_names: String,
}

impl OnlyOf {
    /// These ones; one that was removed meanwhile is left out.
    pub async fn of(ctx: &Ctx, actor: &Actor, ids: &[DatabaseId], unknown: Vec<String>) -> Result<Self> {
        let mut chosen = Vec::new();
        for id in ids {
            match databases::get(ctx, actor, *id).await {
                Ok(database) => chosen.push((database.id, database.name)),
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let problem = problem_of(&unknown);
        Ok(Self { chosen, suggested: suggestions(ctx, actor, "").await?, typed: unknown.join(", "), problem })
    }
}

/// What a form chooses: ticked ones and names, each once; and the names that no database has.
pub async fn chosen(ctx: &Ctx, actor: &Actor, form: &Form) -> Result<(Vec<DatabaseId>, Vec<String>)> {
    let mut ids = form.all("database").map(str::parse).collect::<Result<Vec<_>>>()?;
    let mut unknown = Vec::new();
    let text = form.text("databaseNames");
    // A name may hold a comma itself.
    let names = match databases::named(ctx, actor, text).await? {
        Some(_) => vec![text],
        None => text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
    };
    for name in names {
        match databases::named(ctx, actor, name).await? {
            Some(id) if ids.contains(&id) => {}
            Some(id) => ids.push(id),
            None => unknown.push(name.to_owned()),
        }
    }
    Ok((ids, unknown))
}

/// Errors when a name is no database's.
pub fn refuse_unknown(unknown: &[String]) -> Result<()> {
    match problem_of(unknown) {
        None => Ok(()),
        Some(problem) => Err(Error::validation("some settings are not valid").fields(vec![("databaseNames".to_owned(), problem)])),
    }
}

fn problem_of(unknown: &[String]) -> Option<String> {
    match unknown {
        [] => None,
        [name] => Some(format!("no database is called '{name}'")),
        names => Some(format!("no databases are called '{}'", names.join("', '"))),
    }
}

async fn suggestions(ctx: &Ctx, actor: &Actor, part: &str) -> Result<Vec<String>> {
    let filter = DatabaseFilter { q: Some(part.to_owned()).filter(|part| !part.is_empty()), ..DatabaseFilter::default() };
    let found = databases::list(ctx, actor, &filter, PageRequest { page: 1, limit: SUGGESTED }).await?;
    Ok(found.items.into_iter().map(|database| database.name).collect())
}

/// GET /notifiers/databases?databaseNames=: names to choose from, while one is typed.
pub async fn suggest(State(ctx): State<Arc<Ctx>>, user: User, Query(typed): Query<Typed>) -> Result<Html<String>, Failure> {
    let names = suggestions(&ctx, &user, typed.database_names.rsplit(',').next().unwrap_or_default().trim()).await?;
    Ok(render(&ctx, &Options { names })?)
}

/// POST /notifiers/databases: the form with the names added to what is chosen; a part of it for htmx. Nothing is saved.
pub async fn add(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Htmx(part): Htmx, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let (ids, unknown) = chosen(&ctx, &user, &form).await?;
    if part {
        let of = OnlyOf::of(&ctx, &user, &ids, unknown).await?;
        return Ok(render(&ctx, &Part { of })?.into_response());
    }
    let view = match form.parse("id")? {
        Some(id) => Some(notifiers::get(&ctx, &user, id).await?),
        None => None,
    };
    let refused = refuse_unknown(&unknown).err();
    let shown = NotifierForm::typed(&ctx, &user, &form, view.as_ref(), refused.as_ref()).await?;
    let page = change::page(&ctx, layout, shown)?;
    Ok(match &refused {
        Some(error) => (status(error), page).into_response(),
        None => page.into_response(),
    })
}
