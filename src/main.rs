//! Calls the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    dbsnap::cli::main()
}
