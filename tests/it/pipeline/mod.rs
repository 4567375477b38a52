//! The byte pipeline: what is sealed opens again, and nothing else does.

mod round_trip;
mod support;
