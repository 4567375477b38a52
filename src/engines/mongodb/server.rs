//! What a server and a database on it say of themselves.

use super::connect::Target;
use crate::{
    domain::{database::Probe, run::Run},
    error::{Error, Result},
};

pub async fn probe(_target: &Target, _run: &Run) -> Result<Probe> {
    Err(Error::internal("MongoDB is not probed yet"))
}
