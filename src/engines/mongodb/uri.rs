//! `mongodb://` and `mongodb+srv://` URLs.

use crate::{
    domain::database::Settings,
    error::{Error, Result},
};

pub fn settings_from_url(_url: &str) -> Result<Settings> {
    Err(Error::internal("MongoDB URLs are not read yet"))
}
