//! C code between the gateway and its libc: the real way to see what it does when the system misbehaves.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A library for `LD_PRELOAD` in `dir`, compiled from `source` by the compiler that Rust links with.
pub fn library(dir: &Path, name: &str, source: &str) -> PathBuf {
    let (code, library) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.so")));
    std::fs::write(&code, source).expect("writable");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status();
    assert!(made.expect("cc is there, for Rust links with it").success(), "{}", code.display());
    library
}
