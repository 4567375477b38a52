//! Settings that can be changed while it runs, and what one wants to know about the product.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    domain::{
        database::Settings,
        fields::{Field, SettingsExt},
        filter::JobFilter,
        job::{Job, JobKind},
        maintenance::MaintenanceReport,
        page::PageRequest,
    },
    error::{Error, Kind},
    services::{
        Ctx, jobs, maintenance, stores,
        stores::StoreView,
        system::{self, SystemStatus},
    },
    web::{
        envelope::{self, Envelope, Open},
        error::{Failure, message, status},
        extract::{Body, Form, User},
        filters,
        forms::{self, FormField},
        html::{Layout, render},
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/system/settings.html")]
struct Page {
    layout: Layout,
    groups: Vec<Group>,
    problem: Option<String>,
    past: Vec<Past>,
    about: SystemStatus,
    stores: Vec<Place>,
}

/// Settings under one heading, saved together.
struct Group {
    title: &'static str,
    /// Of the settings as they are shown.
    version: String,
    fields: Vec<FormField>,
}

/// A maintenance job and what it did.
struct Past {
    job: Job,
    task: &'static str,
    words: Vec<String>,
}

/// How many of the last maintenance jobs are shown.
const PAST: u32 = 6;

/// A store's name and where it is.
struct Place {
    name: String,
    place: String,
}

impl From<StoreView> for Place {
    fn from(store: StoreView) -> Self {
        let path = store.settings.text("path").map(str::to_owned);
        Self { place: path.unwrap_or_else(|| store.kind_label.to_owned()), name: store.name }
    }
}

/// The settings, with defaults filled in.
#[utoipa::path(get, path = "/api/system/settings", tag = "system", responses((status = 200, body = Envelope<Open>)))]
pub async fn api_get(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Open>, Failure> {
    Ok(envelope::ok(Open(system::settings_get(&ctx, &user).await?)))
}

/// Changes settings; those not named stay.
#[utoipa::path(put, path = "/api/system/settings", tag = "system", request_body = Open,
    responses((status = 200, body = Envelope<Open>)))]
pub async fn api_put(State(ctx): State<Arc<Ctx>>, user: User, Body(Open(changes)): Body<Open>) -> Result<Envelope<Open>, Failure> {
    Ok(envelope::ok(Open(system::settings_put(&ctx, &user, changes, None).await?)))
}

/// GET /settings
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Response, Failure> {
    let settings = system::settings_get(&ctx, &user).await?;
    draw(&ctx, &user, layout, &settings, None).await
}

/// POST /settings: the fields of the group that the form names, or all of them.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    let meant = |field: &&Field| !form.has("section") || field.section == form.text("section");
    let fields: Vec<Field> = system::SETTINGS.iter().filter(meant).copied().collect();
    let changes = forms::read("", &fields, &form);
    let version = Some(form.text("version")).filter(|version| !version.is_empty());
    match system::settings_put(&ctx, &user, changes.clone(), version).await {
        Ok(_) => Ok(Redirect::to("/settings?notice=saved").into_response()),
        // What the others have saved is shown: the version is that of what is shown now.
        Err(error) if error.kind == Kind::Conflict => {
            draw(&ctx, &user, layout, &system::settings_get(&ctx, &user).await?, Some(&error)).await
        }
        Err(error) if error.fields.is_empty() => Err(error.into()),
        Err(error) => {
            let mut settings = system::settings_get(&ctx, &user).await?;
            settings.extend(changes);
            draw(&ctx, &user, layout, &settings, Some(&error)).await
        }
    }
}

async fn draw(ctx: &Ctx, user: &User, layout: Layout, settings: &Settings, error: Option<&Error>) -> Result<Response, Failure> {
    let stored = system::settings_get(ctx, user).await?;
    let problems = error.map_or(&[][..], |error| &error.fields);
    let filter = JobFilter { kind: Some(JobKind::Maintenance), ..JobFilter::default() };
    let past = jobs::list(ctx, user, &filter, PageRequest { page: 1, limit: PAST }).await?.items;
    let page = Page {
        layout: layout.titled("Settings"),
        groups: groups(forms::draw("", system::SETTINGS, settings, &[], problems), &stored),
        problem: error.map(message),
        past: past.into_iter().map(Past::from).collect(),
        about: system::status(ctx, user).await?,
        stores: stores::list(ctx, user).await?.into_iter().map(Place::from).collect(),
    };
    Ok((error.map_or(StatusCode::OK, status), render(ctx, &page)?).into_response())
}

/// The fields by their headings, in the order of the table. `stored` is what the settings are now.
fn groups(fields: Vec<FormField>, stored: &Settings) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for field in fields {
        match groups.iter_mut().find(|group| group.title == field.section) {
            Some(group) => group.fields.push(field),
            None => {
                let names = system::SETTINGS.iter().filter(|of| of.section == field.section).map(|of| of.name);
                groups.push(Group { title: field.section, version: system::settings_version(stored, names), fields: vec![field] });
            }
        }
    }
    groups
}

impl From<Job> for Past {
    fn from(job: Job) -> Self {
        let words = maintenance::report_of(&job).map(|report: MaintenanceReport| report.words).unwrap_or_default();
        let task = match job.payload["task"].as_str() {
            Some("cleanup") => "Clean up",
            Some("vacuum") => "Compact",
            _ => "Check",
        };
        Self { job, task, words }
    }
}
