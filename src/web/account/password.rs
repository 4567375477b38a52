//! Changing one's own password.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::show;
use crate::{
    error::Error,
    services::{Ctx, accounts},
    web::{
        error::Failure,
        extract::{Form, User},
        html::Layout,
    },
};

/// POST /account/password: every other session ends.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    let changed = if form.raw("new") == form.raw("again") {
        let keep = user.0.session.as_ref().map(|session| session.id);
        accounts::change_password(&ctx, &user, form.raw("old"), form.raw("new"), keep).await
    } else {
        Err(Error::validation("the two new passwords differ"))
    };
    match changed {
        Ok(()) => Ok(Redirect::to("/account?notice=password").into_response()),
        Err(error) => show::draw(&ctx, &user, layout, None, Some(&error)).await,
    }
}
