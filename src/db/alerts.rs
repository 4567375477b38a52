//! What is wrong now.
