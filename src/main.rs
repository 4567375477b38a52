//! The `dbsnap` command.

fn main() {}
