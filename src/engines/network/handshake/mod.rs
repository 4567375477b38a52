//! How connections of each kind of server turn to TLS. Servers are not trusted yet: what they send is read to the byte
//! and no further, so that nothing sent ahead of the encryption can pass for something sent under it.

pub mod mysql;
pub mod postgres;
