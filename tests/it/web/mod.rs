//! The real router over a real socket: API and pages, refusals, headers, hostile input.

pub mod site;
