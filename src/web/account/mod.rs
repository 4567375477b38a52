//! Accounts: first setup, sign in and out, password, sessions, API keys.

pub mod keys;
pub mod login;
pub mod logout;
pub mod password;
pub mod sessions;
pub mod setup;
pub mod show;
pub mod users;
