//! What every request passes through, from the outside in; `router` puts them together.

pub mod csrf;
pub mod errors;
pub mod headers;
pub mod host;
pub mod identity;
pub mod panics;
pub mod request;
