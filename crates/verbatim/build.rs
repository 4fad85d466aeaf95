//! Tells the program for which target it is built.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "how cargo talks to a build script")]
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=VERBATIM_TARGET={target}");
}
