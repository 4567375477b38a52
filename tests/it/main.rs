//! The integration tests: one binary, real servers and real files.
