//! The form of a store, made from the fields of its kind.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use crate::{
    domain::{
        fields::{Field, FieldKind},
        ids::StoreId,
    },
    error::{Error, Result},
    services::{
        Ctx,
        stores::{StoreInput, StoreView, kinds},
    },
    web::{
        error::{Failure, message, status},
        extract::Form,
        forms::{self, FormField},
        html::{Layout, render},
    },
};

const SETTINGS: &str = "settings.";

const NAME: Field = Field::new("name", "Name", FieldKind::Text).required().help("How it is called here, such as: archive.");

#[derive(Template)]
#[template(path = "pages/stores/form.html")]
struct Page {
    layout: Layout,
    id: Option<StoreId>,
    kind: &'static str,
    kind_label: &'static str,
    icon: &'static str,
    name: FormField,
    fields: Vec<FormField>,
    problem: Option<(String, Option<String>)>,
}

/// Draws the form: as sent, as stored, or blank; with what was wrong.
pub fn draw(ctx: &Ctx, layout: Layout, stored: Option<StoreView>, sent: Option<&Form>, error: Option<&Error>) -> Result<Response, Failure> {
    let wanted = sent.map(|form| form.text("kind").to_owned()).or(stored.as_ref().map(|store| store.kind.clone()));
    let all = kinds();
    let info = all.iter().find(|info| wanted.as_deref() == Some(info.id)).or(all.first());
    let info = info.ok_or_else(|| Error::internal("this build has no kind of store"))?;
    let problems: &[(String, String)] = error.map_or(&[], |error| &error.fields);
    let (name, settings) = match (sent, &stored) {
        (Some(form), _) => (form.text("name").to_owned(), forms::read(SETTINGS, info.settings, form)),
        (None, Some(store)) => (store.name.clone(), store.settings.clone()),
        (None, None) => (String::new(), Map::new()),
    };
    let secrets = stored.as_ref().map(|store| store.secrets_set.clone()).unwrap_or_default();
    let title = stored.as_ref().map_or_else(|| "Add a store".to_owned(), |store| format!("Edit {}", store.name));
    let page = Page {
        layout: layout.titled(title),
        id: stored.map(|store| store.id),
        kind: info.id,
        kind_label: info.label,
        icon: info.icon,
        name: forms::draw("", &[NAME], &Map::from_iter([("name".to_owned(), Value::String(name))]), &[], problems).swap_remove(0),
        fields: forms::draw(SETTINGS, info.settings, &settings, &secrets, problems),
        problem: error.map(|error| (message(error), error.hint.clone())),
    };
    Ok((error.map_or(StatusCode::OK, status), render(ctx, &page)?).into_response())
}

/// The input that a sent form stands for.
pub fn read(form: &Form) -> Result<StoreInput> {
    let kind = form.text("kind");
    let all = kinds();
    let fields = all.iter().find(|info| info.id == kind).map(|info| info.settings).unwrap_or_default();
    Ok(StoreInput { name: form.text("name").to_owned(), kind: kind.to_owned(), settings: forms::read(SETTINGS, fields, form) })
}
