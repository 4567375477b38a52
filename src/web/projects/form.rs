//! The form of a project.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use crate::{
    domain::{
        fields::{Field, FieldKind},
        ids::ProjectId,
        project::{Environment, Project},
    },
    error::{Error, Result},
    services::{Ctx, projects::ProjectInput},
    web::{
        error::{Failure, message, status},
        extract::Form,
        forms::{self, FormField},
        html::{Layout, render},
    },
};

const NAME: Field =
    Field::new("name", "Name", FieldKind::Text).required().help("What its databases belong to, such as: web shop, or the name of a team.");

#[derive(Template)]
#[template(path = "pages/projects/form.html")]
struct Page {
    layout: Layout,
    id: Option<ProjectId>,
    name: FormField,
    /// Each one, and whether it is chosen.
    environments: Vec<(Environment, bool)>,
    problem: Option<(String, Option<String>)>,
}

/// Draws the form: as sent, as stored, or blank; with what was wrong.
pub fn draw(ctx: &Ctx, layout: Layout, stored: Option<&Project>, sent: Option<&Form>, error: Option<&Error>) -> Result<Response, Failure> {
    let problems: &[(String, String)] = error.map_or(&[], |error| &error.fields);
    let known = stored.map(|project| (project.name.clone(), project.environment));
    let typed = sent.map(|form| (form.text("name").to_owned(), form.parse("environment").ok().flatten().unwrap_or(Environment::Prod)));
    let (name, environment) = typed.or(known).unwrap_or((String::new(), Environment::Prod));
    let title = stored.map_or_else(|| "Add a project".to_owned(), |project| format!("Edit {}", project.name));
    let page = Page {
        layout: layout.titled(title),
        id: stored.map(|project| project.id),
        name: forms::draw("", &[NAME], &Map::from_iter([("name".to_owned(), Value::String(name))]), &[], problems).swap_remove(0),
        environments: Environment::ALL.iter().map(|known| (*known, *known == environment)).collect(),
        problem: error.map(|error| (message(error), error.hint.clone())),
    };
    Ok((error.map_or(StatusCode::OK, status), render(ctx, &page)?).into_response())
}

/// The input that a sent form stands for. Errors when its environment is none.
pub fn read(form: &Form) -> Result<ProjectInput> {
    Ok(ProjectInput { name: form.text("name").to_owned(), environment: form.parse("environment")? })
}
