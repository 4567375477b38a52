//! A form that was filled from a connection URL: what its page shows, and the secrets of the URL, sealed.
//!
//! The password in a URL must not come back in a page. The page carries it sealed instead, for the same person and for a
//! short time; it is opened again on the server when the form is sent, and only while what it belongs to stays as it was.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        database::Settings,
        permissions::{Actor, Permission},
        time::Moment,
    },
    engines::{self, Engine, EngineInfo},
    error::{Context, Error, Kind, Result},
    services::{Ctx, secrets},
};

/// How long a filled form can be sent.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// What a connection URL says.
pub struct Draft {
    pub engine: &'static EngineInfo,
    /// Without secrets.
    pub settings: Settings,
    /// Names of the secret settings that the URL holds.
    pub secrets_set: Vec<&'static str>,
    /// All of them, sealed, for [`super::DatabaseInput::draft`].
    pub sealed: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    engine: String,
    settings: Settings,
    until: Moment,
}

/// Takes a URL apart. Errors, without repeating it, when no engine reads it.
pub fn draft(ctx: &Ctx, actor: &Actor, url: &str) -> Result<Draft> {
    actor.require(Permission::Configure)?;
    let (engine, settings) = engines::from_url(url.trim())?;
    let info = engine.info();
    let until = Moment(Moment::now().0 + i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX));
    let content = Content { engine: info.id.to_owned(), settings: settings.clone(), until };
    let content = serde_json::to_string(&content).context(Kind::Internal, || "writing the draft".into())?;
    let (settings, secrets_set) = secrets::public(info.connection, settings);
    Ok(Draft { engine: info, settings, secrets_set, sealed: ctx.keys.current().seal_text(&purpose(actor), &content) })
}

/// Names of the secret settings that a draft still holds; none when it cannot be opened.
pub fn secrets_in(ctx: &Ctx, actor: &Actor, engine: &dyn Engine, sealed: &str) -> Vec<&'static str> {
    open(ctx, actor, engine, sealed).map(|settings| secrets::public(engine.info().connection, settings).1).unwrap_or_default()
}

/// The settings of a draft, not validated, secrets in clear. Errors when it is too old, of somebody
/// else, or altered.
pub(super) fn open(ctx: &Ctx, actor: &Actor, engine: &dyn Engine, sealed: &str) -> Result<Settings> {
    let again = "paste the connection URL again, or type its password into the form";
    let content = ctx.keys.current().open_text(&purpose(actor), sealed);
    let content = content.map_err(|_| Error::validation("what was read from the connection URL cannot be opened any more").hint(again))?;
    let content: Content = serde_json::from_str(content.expose()).context(Kind::Internal, || "reading the draft".into())?;
    if content.until < Moment::now() {
        return Err(Error::validation("the connection URL was pasted too long ago").hint(again));
    }
    Ok(if content.engine == engine.info().id { content.settings } else { Settings::new() })
}

fn purpose(actor: &Actor) -> String {
    let person = actor.user_id.map(|id| id.to_string()).unwrap_or_default();
    format!("draft:{}:{person}", actor.organization_id)
}
