//! The binary `export-worker`; everything is in the library of the same name.

use std::process::ExitCode;

use export_worker::cli;

#[tokio::main]
async fn main() -> ExitCode {
    // Must come first: reqwest uses the default TLS provider, and there is none until one is installed.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    // On the main task, because the worker's future is not `Send`; boxed, because it is large.
    Box::pin(cli::main()).await
}
