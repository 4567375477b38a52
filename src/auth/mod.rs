//! Passwords, session tokens, setup tokens.
