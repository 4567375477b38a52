//! Who may do what. Every service takes an `&Actor` and asks here before it acts.

use super::{
    backup::text_enum,
    ids::{OrganizationId, UserId},
};
use crate::error::{Error, Kind, Result};

text_enum! {
    Role {
        /// Everything.
        Admin = "admin",
        /// Runs backups, restores and verifications, and configures databases and stores.
        Operator = "operator",
        /// Reads.
        Viewer = "viewer",
    }
}

impl Role {
    /// The weaker of two roles: what an API key may do is capped by what its user may.
    pub fn capped_by(self, cap: Role) -> Role {
        // They stand in order of power, the strongest first.
        let rank = |role| Self::ALL.iter().position(|known| *known == role);
        if rank(self) < rank(cap) { cap } else { self }
    }
}

/// One thing that can be allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// See databases, backups, restores, jobs, logs.
    View,
    /// Start, cancel, verify and pin backups.
    RunBackups,
    /// Download artifacts: the data itself.
    Download,
    /// Overwrite or create databases from backups, and upload dumps.
    Restore,
    /// Add, change and remove databases and stores.
    Configure,
    /// Delete backups.
    DeleteBackups,
    /// Change settings; export and import the configuration.
    Settings,
    /// Manage users, sessions of others and API keys.
    Accounts,
}

impl Permission {
    pub const ALL: &'static [Self] = &[
        Self::View,
        Self::RunBackups,
        Self::Download,
        Self::Restore,
        Self::Configure,
        Self::DeleteBackups,
        Self::Settings,
        Self::Accounts,
    ];
}

/// The role matrix.
pub fn allows(role: Role, permission: Permission) -> bool {
    match role {
        Role::Admin => true,
        Role::Operator => !matches!(permission, Permission::Settings | Permission::Accounts | Permission::DeleteBackups),
        Role::Viewer => permission == Permission::View,
    }
}

/// Who acts: a person, an API key, or the product itself. Every row is read through its organization.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `None` for the product itself and for AUTH_MODE=none.
    pub user_id: Option<UserId>,
    pub organization_id: OrganizationId,
    pub role: Role,
    /// For the audit trail: a user name, `system`, `anonymous`.
    pub name: String,
    /// It came with an API key, not by signing in.
    pub via_key: bool,
}

impl Actor {
    /// The product itself: the scheduler, the workers, the command line.
    pub fn system() -> Self {
        Self { user_id: None, organization_id: OrganizationId::DEFAULT, role: Role::Admin, name: "system".into(), via_key: false }
    }

    /// Whoever reaches the port when AUTH_MODE=none.
    pub fn anonymous() -> Self {
        Self { name: "anonymous".into(), ..Self::system() }
    }

    pub fn may(&self, permission: Permission) -> bool {
        allows(self.role, permission)
    }

    /// Errors with `FORBIDDEN` when the role does not allow it.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if self.may(permission) {
            return Ok(());
        }
        Err(Error::new(Kind::Forbidden, format!("{} ({}) may not do this: it needs the permission {permission:?}", self.name, self.role))
            .hint("ask an administrator for another role"))
    }

    /// Errors with `FORBIDDEN` for an API key: whoever finds one must not make more of them, or accounts that outlive it.
    pub fn require_person(&self) -> Result<()> {
        if !self.via_key {
            return Ok(());
        }
        Err(Error::new(Kind::Forbidden, format!("{}: an API key cannot manage accounts and keys", self.name)).hint("sign in to do this"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_matrix_is_as_documented() {
        let allowed = |role| Permission::ALL.iter().filter(|permission| allows(role, **permission)).count();
        assert_eq!([Role::Admin, Role::Operator, Role::Viewer].map(allowed), [8, 5, 1]);
        assert!(!allows(Role::Viewer, Permission::Download), "a viewer must not take the data away");
        assert!(!allows(Role::Operator, Permission::Accounts));
    }

    #[test]
    fn a_capped_role_is_the_weaker_one_and_never_allows_more() {
        assert_eq!(Role::Admin.capped_by(Role::Viewer), Role::Viewer);
        assert_eq!(Role::Viewer.capped_by(Role::Admin), Role::Viewer);
        for (role, cap) in Role::ALL.iter().flat_map(|role| Role::ALL.iter().map(move |cap| (*role, *cap))) {
            let capped = role.capped_by(cap);
            for permission in Permission::ALL.iter().filter(|permission| allows(capped, **permission)) {
                assert!(allows(role, *permission) && allows(cap, *permission), "{role} capped by {cap}: {permission:?}");
            }
        }
    }
}
