//! Builds the crate anew when a migration is added: the migrations are embedded, and cargo does not see new files.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/identity");
}
