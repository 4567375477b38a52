//! Who can sign in, and the trail of what they did. No password, token or hash of one is in these types.

use serde::Serialize;
use serde_json::Value;

use super::{
    ids::{ApiKeyId, AuditId, OrganizationId, SessionId, UserId},
    permissions::Role,
    time::Moment,
};

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: UserId,
    #[serde(skip)]
    pub organization_id: OrganizationId,
    /// What the person types to sign in.
    pub name: String,
    pub role: Role,
    /// A disabled user cannot sign in, and none of the user's sessions and API keys work.
    pub disabled: bool,
    pub created_at: Moment,
    pub last_login_at: Option<Moment>,
}

/// One signed-in browser.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub created_at: Moment,
    pub last_seen_at: Moment,
    /// When it ends whatever happens.
    pub expires_at: Moment,
    pub address: Option<String>,
    /// The browser's User-Agent.
    pub agent: Option<String>,
}

/// A key for programs. It may do what its role allows, and never more than its user may.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: ApiKeyId,
    #[serde(skip)]
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub name: String,
    pub role: Role,
    pub created_at: Moment,
    pub last_used_at: Option<Moment>,
    pub expires_at: Option<Moment>,
}

/// One line of the audit trail.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    pub id: AuditId,
    #[serde(skip)]
    pub organization_id: OrganizationId,
    pub user_id: Option<UserId>,
    /// The name at that time: a user, `system`, `anonymous`.
    pub actor: String,
    /// Such as `backup.delete`.
    pub action: String,
    /// What it was done to, such as `backup 0198…` or a name.
    pub subject: String,
    #[schema(value_type = Object)]
    pub details: Value,
    pub address: Option<String>,
    pub at: Moment,
}
