//! A look at a server and at what the account may do there.

use super::{connect::Target, server::Server, tools::Places};
use crate::{
    domain::{
        database::{Probe, Settings},
        run::Run,
    },
    error::Result,
};

/// Connects and looks around.
pub async fn probe(settings: &Settings, places: Places, run: &Run) -> Result<Probe> {
    let target = Target::open(settings, run).await?;
    let mut connection = target.connect_to_server(run).await?;
    let server = Server::read(&mut connection, &target).await?;
    let tool = places.to_dump(server.flavour, server.version, run).await?;
    Ok(Probe {
        server_version: server.to_string(),
        latency_ms: 0,
        size: None,
        tables: 0,
        tool: Some(tool.to_string()),
        read_only: None,
        account: None,
        connection: Some(target.facts()),
        replication: None,
        warnings: Vec::new(),
    })
}
