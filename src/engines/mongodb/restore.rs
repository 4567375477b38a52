//! A restore of an archive.

use crate::{
    domain::run::Run,
    engines::{RestoreOutcome, RestoreRequest},
    error::{Error, Result},
};

pub async fn restore(_request: &RestoreRequest<'_>, _run: &Run) -> Result<RestoreOutcome> {
    Err(Error::internal("archives are not restored yet"))
}
