//! Accounts: the first administrator, signing in and out, and who a request comes from.

use serde_json::json;

use super::{Ctx, audit};
use crate::{
    auth::{password, token},
    config::AuthMode,
    db,
    domain::{
        account::{Session, User},
        ids::{OrganizationId, SessionId, UserId},
        permissions::{Actor, Role},
        secret::Secret,
        time::Moment,
    },
    error::{Error, Kind, Result},
};

mod keys;
mod sessions;
mod users;

pub use keys::{api_keys, create_api_key, delete_api_key};
pub(super) use sessions::forget_ended_sessions;
pub use sessions::{change_password, logout, revoke_session, sessions};
pub use users::{create_user, delete_user, set_user_password, update_user, users};

/// Where the hash of the setup token waits for the first administrator.
const SETUP_TOKEN: &str = "setup_token_hash";

/// A session's or key's last use is written at most this often, milliseconds: not with every request.
const TOUCH_EVERY: u64 = 60_000;

/// Who tries to sign in: for the rate limit, the list of sessions and the audit trail.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub address: Option<String>,
    /// The browser's User-Agent.
    pub agent: Option<String>,
}

/// True until the first administrator exists, where people sign in at all.
pub async fn setup_needed(ctx: &Ctx) -> Result<bool> {
    Ok(ctx.config.auth_mode == AuthMode::Password && !db::users::any(&ctx.db).await?)
}

/// At start: when nobody can sign in yet, prints a fresh setup token in the log. Only who reads the log can use it.
pub async fn announce_setup(ctx: &Ctx) -> Result<()> {
    if !setup_needed(ctx).await? {
        return Ok(());
    }
    let token = token::generate();
    db::settings::set(&ctx.db, SETUP_TOKEN, &token::hash(token.expose())).await?;
    let base = ctx.config.base_url.as_ref().map_or_else(|| format!("http://localhost:{}/", ctx.config.port), ToString::to_string);
    tracing::warn!("no administrator yet: open {}/setup and enter the setup token {}", base.trim_end_matches('/'), token.expose());
    Ok(())
}

/// Creates the first administrator and signs in. Of two who try at the same time one wins, and the other gets `Conflict`.
pub async fn setup(ctx: &Ctx, setup_token: &str, name: &str, new_password: &str, client: Client) -> Result<(User, Secret)> {
    ctx.logins.check(client.address.as_deref(), "setup")?;
    if ctx.config.auth_mode == AuthMode::None || !setup_needed(ctx).await? {
        return Err(already_set_up());
    }
    // Both are hashes of random tokens: comparing them tells nothing of the token.
    if db::settings::get(&ctx.db, SETUP_TOKEN).await?.as_deref() != Some(token::hash(setup_token.trim()).as_str()) {
        return Err(Error::new(Kind::Forbidden, "the setup token is wrong").hint("copy it from the log of this start of dbsnap"));
    }
    let user = new_user(OrganizationId::DEFAULT, name, Role::Admin)?;
    password::check(new_password)?;
    let hash = password::hash(new_password).await?;
    if !db::users::insert_first(&ctx.db, &user, &hash).await? {
        return Err(already_set_up());
    }
    let actor = actor_of(&user);
    audit::record_from(ctx, &actor, client.address.as_deref(), "setup", &user.name, json!({})).await?;
    open_session(ctx, user, client).await
}

/// Signs in with a new session. Errors with `Unauthorized`, whatever was wrong, and `RateLimited` after too many attempts.
pub async fn login(ctx: &Ctx, name: &str, given: &str, client: Client) -> Result<(User, Secret)> {
    let name = normal_name(name);
    ctx.logins.check(client.address.as_deref(), &name)?;
    let (user, stored) = db::users::find_to_sign_in(&ctx.db, &name).await?.unzip();
    let fits = password::verify(given, stored).await?;
    match user {
        Some(user) if fits && !user.disabled => {
            audit::record_from(ctx, &actor_of(&user), client.address.as_deref(), "login", &user.name, json!({})).await?;
            open_session(ctx, user, client).await
        }
        _ => {
            let shown: String = name.chars().take(64).collect();
            let nobody = Actor { name: shown.clone(), role: Role::Viewer, ..Actor::system() };
            audit::record_from(ctx, &nobody, client.address.as_deref(), "login.failed", &shown, json!({})).await?;
            Err(Error::new(Kind::Unauthorized, "the name or the password is wrong"))
        }
    }
}

/// Who a session cookie belongs to; `None` when it is not valid (any more).
pub async fn authenticate(ctx: &Ctx, session_token: &str) -> Result<Option<(Actor, Session)>> {
    let now = Moment::now();
    let Some((user, mut session)) = db::sessions::find(&ctx.db, &token::hash(session_token), now, idle_since(ctx, now)).await? else {
        return Ok(None);
    };
    if now.since(session.last_seen_at) >= TOUCH_EVERY {
        db::sessions::touch(&ctx.db, session.id, now).await?;
        session.last_seen_at = now;
    }
    Ok(Some((actor_of(&user), session)))
}

/// Who an API key belongs to; `None` when it is not valid (any more). It never may do more than its user.
pub async fn authenticate_key(ctx: &Ctx, key: &str) -> Result<Option<Actor>> {
    if !key.starts_with(token::API_KEY_PREFIX) {
        return Ok(None);
    }
    let now = Moment::now();
    let Some((user, key)) = db::api_keys::find(&ctx.db, &token::hash(key), now).await? else { return Ok(None) };
    if key.last_used_at.is_none_or(|used| now.since(used) >= TOUCH_EVERY) {
        db::api_keys::touch(&ctx.db, key.id, now).await?;
    }
    Ok(Some(Actor {
        role: key.role.capped_by(user.role),
        name: format!("{} (key {})", user.name, key.name),
        via_key: true,
        ..actor_of(&user)
    }))
}

/// A fresh token at each login: one that somebody planted before is worth nothing.
async fn open_session(ctx: &Ctx, mut user: User, client: Client) -> Result<(User, Secret)> {
    let now = Moment::now();
    let token = token::generate();
    let session = Session {
        id: SessionId::new(),
        user_id: user.id,
        created_at: now,
        last_seen_at: now,
        expires_at: Moment(now.0 + hours(ctx.config.session_max_hours)),
        address: client.address,
        agent: client.agent.map(|agent| agent.chars().take(256).collect()),
    };
    db::sessions::insert(&ctx.db, &session, &token::hash(token.expose()), idle_since(ctx, now)).await?;
    db::users::set_last_login(&ctx.db, user.id, now).await?;
    user.last_login_at = Some(now);
    Ok((user, token))
}

fn new_user(organization_id: OrganizationId, name: &str, role: Role) -> Result<User> {
    let name = normal_name(name);
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(Error::validation("the user name cannot be used").fields(vec![("name".into(), "must have 1 to 64 characters".into())]));
    }
    Ok(User { id: UserId::new(), organization_id, name, role, disabled: false, created_at: Moment::now(), last_login_at: None })
}

/// `Anna` and `anna ` are the same person.
fn normal_name(name: &str) -> String {
    name.trim().to_lowercase()
}

fn actor_of(user: &User) -> Actor {
    Actor { user_id: Some(user.id), organization_id: user.organization_id, role: user.role, name: user.name.clone(), via_key: false }
}

fn already_set_up() -> Error {
    Error::conflict("this installation is already set up").hint("sign in, or ask its administrator for an account")
}

fn idle_since(ctx: &Ctx, now: Moment) -> Moment {
    Moment(now.0 - hours(ctx.config.session_idle_hours))
}

fn hours(hours: u32) -> i64 {
    i64::from(hours) * 3_600_000
}
