//! Compiles the migrations in again when one is added: the compiler only sees those that were there before.

fn main() {
    println!("cargo::rerun-if-changed=../migrations/exports");
}
