//! Managing users, by people only: an API key reads who there is. The last administrator who can sign in stays.

use serde_json::json;

use super::new_user;
use crate::{
    auth::password,
    db,
    domain::{
        account::User,
        ids::UserId,
        permissions::{Actor, Permission, Role},
    },
    error::Result,
    services::{Ctx, audit},
};

pub async fn users(ctx: &Ctx, actor: &Actor) -> Result<Vec<User>> {
    actor.require(Permission::Accounts)?;
    db::users::list(&ctx.db, actor.organization_id).await
}

/// Errors with `Conflict` when the name is taken.
pub async fn create_user(ctx: &Ctx, actor: &Actor, name: &str, new_password: &str, role: Role) -> Result<User> {
    actor.require(Permission::Accounts)?;
    actor.require_person()?;
    let user = new_user(actor.organization_id, name, role)?;
    password::check(new_password)?;
    db::users::insert(&ctx.db, &user, &password::hash(new_password).await?).await?;
    audit::record(ctx, actor, "user.create", &user.name, json!({"role": role})).await?;
    Ok(user)
}

/// Changes role and state; one who is disabled is signed out at once.
pub async fn update_user(ctx: &Ctx, actor: &Actor, id: UserId, role: Role, disabled: bool) -> Result<User> {
    actor.require(Permission::Accounts)?;
    actor.require_person()?;
    let user = db::users::update(&ctx.db, actor.organization_id, id, role, disabled).await?;
    audit::record(ctx, actor, "user.update", &user.name, json!({"role": role, "disabled": disabled})).await?;
    Ok(user)
}

/// Gives a user a new password, for one who forgot it, and ends the user's sessions.
pub async fn set_user_password(ctx: &Ctx, actor: &Actor, id: UserId, new_password: &str) -> Result<()> {
    actor.require(Permission::Accounts)?;
    actor.require_person()?;
    let user = db::users::get(&ctx.db, actor.organization_id, id).await?;
    password::check(new_password)?;
    db::users::set_password(&ctx.db, id, &password::hash(new_password).await?).await?;
    db::sessions::delete_all(&ctx.db, id, None).await?;
    audit::record(ctx, actor, "user.password", &user.name, json!({})).await
}

/// Removes a user with the user's sessions and API keys.
pub async fn delete_user(ctx: &Ctx, actor: &Actor, id: UserId) -> Result<()> {
    actor.require(Permission::Accounts)?;
    actor.require_person()?;
    let user = db::users::get(&ctx.db, actor.organization_id, id).await?;
    db::users::delete(&ctx.db, actor.organization_id, id).await?;
    audit::record(ctx, actor, "user.delete", &user.name, json!({})).await
}
