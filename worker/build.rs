//! Compiles the migrations in again when one is added: the compiler only sees those that were there before. And tells
//! where the description of Temporal's messages lies, which the crate of the SDK makes when it is built.

fn main() {
    println!("cargo::rerun-if-changed=../migrations/exports");
    match std::env::var("DEP_TEMPORALIO_PROTOS_DESCRIPTOR_PATH") {
        Ok(path) => println!("cargo::rustc-env=TEMPORAL_DESCRIPTORS={path}"),
        Err(_) => println!("cargo::error=temporalio-protos no longer tells where its descriptors are"),
    }
}
