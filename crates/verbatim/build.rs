//! Tells the program for which target it is built.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=VERBATIM_TARGET={target}");
}
