//! API keys: one's own, and all of them for who manages accounts.

use serde_json::json;

use super::sessions::signed_in;
use crate::{
    auth::token,
    db,
    domain::{
        account::ApiKey,
        ids::{ApiKeyId, UserId},
        permissions::{Actor, Permission, Role},
        secret::Secret,
        time::Moment,
    },
    error::{Error, Kind, Result},
    services::{Ctx, audit},
};

pub async fn api_keys(ctx: &Ctx, actor: &Actor) -> Result<Vec<ApiKey>> {
    db::api_keys::list(&ctx.db, actor.organization_id, whose(actor)?).await
}

/// Makes a key for the caller; it is returned this once. Errors with `Forbidden` when the role is more than the caller's,
/// and for who comes with a key.
pub async fn create_api_key(ctx: &Ctx, actor: &Actor, name: &str, role: Role) -> Result<(ApiKey, Secret)> {
    let user_id = signed_in(actor)?;
    actor.require_person()?;
    if role.capped_by(actor.role) != role {
        return Err(Error::new(Kind::Forbidden, format!("{} ({}) cannot make a key with the role {role}", actor.name, actor.role))
            .hint(format!("choose {} or less", actor.role)));
    }
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(Error::validation("the key needs a name").fields(vec![("name".into(), "must have 1 to 64 characters".into())]));
    }
    let secret = token::generate_api_key();
    let key = ApiKey {
        id: ApiKeyId::new(),
        organization_id: actor.organization_id,
        user_id,
        name: name.to_owned(),
        role,
        created_at: Moment::now(),
        last_used_at: None,
        expires_at: None,
    };
    db::api_keys::insert(&ctx.db, &key, &token::hash(secret.expose())).await?;
    audit::record(ctx, actor, "api-key.create", &key.name, json!({"role": role})).await?;
    Ok((key, secret))
}

/// Removes a key; it stops working at once.
pub async fn delete_api_key(ctx: &Ctx, actor: &Actor, id: ApiKeyId) -> Result<()> {
    actor.require_person()?;
    db::api_keys::delete(&ctx.db, actor.organization_id, whose(actor)?, id).await?;
    audit::record(ctx, actor, "api-key.delete", id, json!({})).await
}

/// `None`: everybody's.
fn whose(actor: &Actor) -> Result<Option<UserId>> {
    if actor.may(Permission::Accounts) { Ok(None) } else { signed_in(actor).map(Some) }
}
