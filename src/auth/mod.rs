//! Passwords, tokens, and the limit on guessing them. No IO: what is stored and who may do what is `services::accounts`.

pub mod limit;
pub mod password;
pub mod token;
