//! One's own sessions and password.

use serde_json::json;

use super::idle_since;
use crate::{
    auth::password,
    db,
    domain::{
        account::Session,
        ids::{SessionId, UserId},
        permissions::Actor,
        time::Moment,
    },
    error::{Error, Result},
    services::{Ctx, audit},
};

/// The caller's living sessions; none for who did not sign in.
pub async fn sessions(ctx: &Ctx, actor: &Actor) -> Result<Vec<Session>> {
    let Some(user) = actor.user_id else { return Ok(Vec::new()) };
    let now = Moment::now();
    db::sessions::list(&ctx.db, user, now, idle_since(ctx, now)).await
}

/// Ends the session one is signed in with.
pub async fn logout(ctx: &Ctx, actor: &Actor, id: SessionId) -> Result<()> {
    db::sessions::delete(&ctx.db, signed_in(actor)?, id).await?;
    audit::record(ctx, actor, "logout", id, json!({})).await
}

/// Ends one of the caller's sessions; its cookie is worth nothing from then on.
pub async fn revoke_session(ctx: &Ctx, actor: &Actor, id: SessionId) -> Result<()> {
    actor.require_person()?;
    db::sessions::delete(&ctx.db, signed_in(actor)?, id).await?;
    audit::record(ctx, actor, "session.revoke", id, json!({})).await
}

/// Changes one's own password and ends every session but `keep`. Errors with `Validation` when `old` is wrong.
pub async fn change_password(ctx: &Ctx, actor: &Actor, old: &str, new: &str, keep: Option<SessionId>) -> Result<()> {
    let user = signed_in(actor)?;
    actor.require_person()?;
    // Whoever holds a stolen session may not try passwords faster than at the login.
    ctx.logins.check(None, &format!("password of {user}"))?;
    if !password::verify(old, db::users::password_hash(&ctx.db, user).await?).await? {
        return Err(Error::validation("the old password is wrong"));
    }
    password::check(new)?;
    db::users::set_password(&ctx.db, user, &password::hash(new).await?).await?;
    db::sessions::delete_all(&ctx.db, user, keep).await?;
    audit::record(ctx, actor, "password.change", &actor.name, json!({})).await
}

/// Removes sessions that are past their end, or were idle for too long.
pub(in crate::services) async fn forget_ended_sessions(ctx: &Ctx) -> Result<()> {
    let now = Moment::now();
    db::sessions::delete_ended(&ctx.db, now, idle_since(ctx, now)).await
}

pub(super) fn signed_in(actor: &Actor) -> Result<UserId> {
    actor.user_id.ok_or_else(|| Error::conflict("nobody is signed in here").hint("set AUTH_MODE=password to have accounts"))
}
