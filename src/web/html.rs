//! What every page shares: its frame, and how a template becomes an answer.

use std::any::Any;

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Uri, header, request::Parts},
    response::Html,
};
use axum_extra::extract::CookieJar;

use super::{error::Failure, extract::User};
use crate::{
    domain::permissions::{Actor, Permission},
    error::{Context, Kind, Result},
    services::Ctx,
};

/// The frame of a page: who looks at it, where it is, how it looks.
#[derive(Debug, Clone)]
pub struct Layout {
    pub title: String,
    pub actor: Actor,
    /// False with AUTH_MODE=none: nobody to sign out.
    pub signed_in: bool,
    /// `system`, `light` or `dark`.
    pub theme: &'static str,
    /// What was just done, after a redirect.
    pub notice: Option<&'static str>,
    path: String,
}

/// One entry of the main navigation.
pub struct NavItem {
    /// Heading of the group that starts here; empty within a group.
    pub section: &'static str,
    pub label: &'static str,
    pub href: &'static str,
    pub icon: &'static str,
    pub here: bool,
}

/// (section, label, address, icon)
const NAVIGATION: &[(&str, &str, &str, &str)] = &[
    ("", "Overview", "/", "overview"),
    ("", "Databases", "/databases", "database"),
    ("", "Backups", "/backups", "backup"),
    ("", "Schedules", "/schedules", "schedule"),
    ("", "Compare", "/compare", "compare"),
    ("", "Restores", "/restores", "restore"),
    ("Operate", "Jobs", "/jobs", "jobs"),
    ("", "Logs", "/logs", "logs"),
    ("", "Retention", "/retention-policies", "history"),
    ("", "Projects", "/projects", "project"),
    ("", "Stores", "/stores", "store"),
    ("", "Notifications", "/notifiers", "bell"),
    ("", "Audit", "/audit", "audit"),
    ("", "Settings", "/settings", "settings"),
];

/// (value of `?notice=`, what is shown): text from the address itself is never shown.
const NOTICES: &[(&str, &str)] = &[
    ("saved", "Saved."),
    ("added", "The database was added. Make its first backup to be protected."),
    ("removed", "The database was removed. Its backups are kept."),
    ("deleted", "The backup and its files were deleted."),
    ("schedule-removed", "The schedule was removed. Its backups are kept."),
    ("diff-deleted", "The comparison was deleted."),
    ("verifying", "Verification has started; its result appears here."),
    ("cancelling", "Cancelling: it stops at the next safe point."),
    ("retried", "Queued again."),
    (
        "retried-some",
        "Queued again, but not all: what is still here, such as a restore or what is about a removed database, cannot be retried.",
    ),
    ("dropped", "Dropped. The jobs and their logs stay in the history."),
    ("dropped-some", "Dropped, but some were no dead letters any more."),
    ("notifier-added", "The notifier was added. Send a test to see that it arrives."),
    ("notifier-removed", "The notifier was removed."),
    ("password", "The password was changed. Every other session was signed out."),
    ("session", "That session was signed out."),
    ("key-removed", "The API key was removed; it stops working at once."),
    ("maintained", "Queued: its report appears under Maintenance when it is done."),
    ("maintained", "Done."),
    ("policy-removed", "The retention policy was removed."),
    ("project-removed", "The project was removed."),
    ("store-removed", "The store was removed from here. What is in it stays."),
    ("store-works", "The store works: something was written to it and removed again."),
];

impl Layout {
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    pub fn nav(&self) -> Vec<NavItem> {
        let here = |href: &str| if href == "/" { self.path == "/" } else { self.path.starts_with(href) };
        // The wizard's address is /restore/new, and that of a comparison begins with /diffs.
        let near = |href: &str| {
            here(href)
                || (href == "/restores" && self.path.starts_with("/restore/"))
                || (href == "/compare" && self.path.starts_with("/diffs/"))
        };
        let item = |&(section, label, href, icon): &(_, _, &'static str, _)| NavItem { section, label, href, icon, here: near(href) };
        NAVIGATION.iter().filter(|entry| entry.2 != "/audit" || self.may_administer()).map(item).collect()
    }

    pub fn may_run(&self) -> bool {
        self.actor.may(Permission::RunBackups)
    }

    pub fn may_configure(&self) -> bool {
        self.actor.may(Permission::Configure)
    }

    pub fn may_restore(&self) -> bool {
        self.actor.may(Permission::Restore)
    }

    pub fn may_download(&self) -> bool {
        self.actor.may(Permission::Download)
    }

    pub fn may_delete(&self) -> bool {
        self.actor.may(Permission::DeleteBackups)
    }

    pub fn may_change_settings(&self) -> bool {
        self.actor.may(Permission::Settings)
    }

    pub fn may_administer(&self) -> bool {
        self.actor.may(Permission::Accounts)
    }
}

impl Layout {
    /// The frame for a request; for the product's own pages outside a session `actor` is a stand-in.
    pub fn of(actor: Actor, signed_in: bool, uri: &Uri, headers: &HeaderMap) -> Self {
        let notice = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .find(|pair| pair.0 == "notice")
            .and_then(|pair| NOTICES.iter().find(|notice| notice.0 == pair.1))
            .map(|notice| notice.1);
        Self { title: String::new(), actor, signed_in, theme: theme(headers), notice, path: uri.path().to_owned() }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Layout {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let user = <User as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(Self::of(user.0.actor.clone(), user.0.session.is_some(), &parts.uri, &parts.headers))
    }
}

/// The theme the reader chose, from its cookie.
pub fn theme(headers: &HeaderMap) -> &'static str {
    match CookieJar::from_headers(headers).get("theme").map(|cookie| cookie.value()) {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "system",
    }
}

/// Writes a page or a part of one. Times in it are shown in the configured time zone.
pub fn render(ctx: &Ctx, template: &impl Template) -> Result<Html<String>> {
    template.render_with_values(&("tz", &ctx.config.tz as &dyn Any)).map(Html).context(Kind::Internal, || "writing the page".into())
}

/// The user agent of a request, for the list of sessions.
pub fn agent(headers: &HeaderMap) -> Option<String> {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(|text| text.chars().take(200).collect())
}
