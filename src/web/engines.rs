//! The engines of this build, as data: what a client needs to draw forms and plans.

use axum::Json;
use serde_json::Value;

use super::{
    envelope::{self, Envelope, Open},
    error::Failure,
    extract::User,
};
use crate::{
    domain::permissions::Permission,
    engines,
    error::{Context, Kind},
};

/// Engines with their connection fields, dump and restore options, restore modes and dump formats.
#[utoipa::path(get, path = "/api/engines", tag = "engines", responses((status = 200, body = Envelope<Vec<Open>>)))]
pub async fn list(user: User) -> Result<Envelope<Vec<Value>>, Failure> {
    user.require(Permission::View)?;
    let infos = engines::registry().iter().map(|engine| serde_json::to_value(engine.info()));
    let infos = infos.collect::<Result<Vec<_>, _>>().context(Kind::Internal, || "describing the engines".into())?;
    Ok(envelope::ok(infos))
}

/// The OpenAPI document of this API, generated from its code.
#[utoipa::path(get, path = "/api/openapi.json", tag = "system", responses((status = 200, body = Open)))]
pub async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}
