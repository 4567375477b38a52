//! Search or jump: pages and databases by name.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};
use serde::Deserialize;

use crate::{
    domain::{filter::DatabaseFilter, page::PageRequest},
    services::{Ctx, databases},
    web::{
        error::Failure,
        extract::{Htmx, Query, User},
        html::{Layout, render},
    },
};

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Search {
    q: String,
}

struct Place {
    label: String,
    href: String,
    icon: &'static str,
    note: String,
}

#[derive(Template)]
#[template(path = "parts/places.html")]
struct Places {
    places: Vec<Place>,
}

#[derive(Template)]
#[template(path = "pages/jump/show.html")]
struct Page {
    layout: Layout,
    q: String,
    places: Vec<Place>,
}

/// Pages one can jump to beside those of the navigation.
const MORE: &[(&str, &str, &str)] = &[("Add a database", "/databases/new", "plus"), ("Restore a backup", "/restore/new", "restore")];

/// GET /jump?q=: a part for the jump box, a page without scripts.
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Htmx(part): Htmx,
    Query(Search { q }): Query<Search>,
) -> Result<Html<String>, Failure> {
    let wanted = q.trim().to_lowercase();
    let named = layout.nav().into_iter().map(|item| (item.label, item.href, item.icon)).chain(MORE.iter().copied());
    let mut places: Vec<Place> = named
        .filter(|(label, ..)| label.to_lowercase().contains(&wanted))
        .map(|(label, href, icon)| Place { label: label.into(), href: href.into(), icon, note: "page".into() })
        .collect();
    let filter = DatabaseFilter { q: Some(wanted).filter(|wanted| !wanted.is_empty()), ..DatabaseFilter::default() };
    let found = databases::list(&ctx, &user, &filter, PageRequest { page: 1, limit: 8 }).await?;
    places.extend(found.items.into_iter().map(|database| Place {
        href: format!("/databases/{}", database.id),
        label: database.name,
        icon: "database",
        note: database.engine_label.to_owned(),
    }));
    if part {
        return Ok(render(&ctx, &Places { places })?);
    }
    Ok(render(&ctx, &Page { layout: layout.titled("Search"), q, places })?)
}
