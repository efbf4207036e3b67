//! Makes the fingerprint that both sides compare when the programs are loaded.

use std::{io, path::Path};

mod fingerprint;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=fingerprint.rs");
    let fingerprint = fingerprint::of(&fingerprint::sources(Path::new("src"))?);
    println!("cargo:rustc-env=TCPSTATE_COMMON_FINGERPRINT={fingerprint:016x}");
    Ok(())
}
