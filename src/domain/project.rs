//! Projects: what groups databases, and says of what environment they are.

use serde::Serialize;

use super::{backup::text_enum, ids::ProjectId, time::Moment};

text_enum! {
    /// What the databases of a project are there for.
    Environment {
        Prod = "prod",
        Staging = "staging",
        Dev = "dev",
    }
}

impl Environment {
    /// In full, for people who choose one.
    pub fn label(self) -> &'static str {
        match self {
            Self::Prod => "Production",
            Self::Staging => "Staging",
            Self::Dev => "Development",
        }
    }
}

/// One project.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    pub id: ProjectId,
    pub name: String,
    pub environment: Environment,
    /// How many databases it holds.
    pub databases: u64,
    pub created_at: Moment,
}
