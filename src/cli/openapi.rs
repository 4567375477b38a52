//! `dbsnap openapi`: the API's description.

use std::process::ExitCode;

use crate::{
    error::{Context, Kind, Result},
    web,
};

/// Print the OpenAPI description of the JSON API.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dbsnap openapi > openapi.json")]
pub struct Args {}

pub fn run(_: Args) -> Result<ExitCode> {
    let text = web::openapi().to_pretty_json().context(Kind::Internal, || "writing the OpenAPI description".into())?;
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}
