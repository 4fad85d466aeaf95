//! What a fuzzer feeds: everything that reads a document of somebody else. One function a reader, in [`TARGETS`].
//!
//! A target panics if the reader does, or if what it promises does not hold. `cargo xtask test fuzz` has libFuzzer choose
//! the inputs. `corpus` has those that reach most of the code, and `cargo test` reads them all.

mod targets;

/// A reader, and what is known of it.
#[derive(Debug)]
pub struct Target {
    /// The name, also of its folder in `corpus`.
    pub name: &'static str,
    /// Reads one input.
    ///
    /// # Panics
    /// If the reader breaks a promise.
    pub read: fn(&[u8]),
    /// The longest input that is tried, in bytes.
    pub longest: usize,
    /// How many inputs are tried.
    pub runs: u32,
}

/// How many inputs are tried.
const MANY: u32 = 10_000_000;

/// How many inputs are tried where one takes more than 100 µs.
const SOME: u32 = 1_000_000;

const fn target(name: &'static str, read: fn(&[u8]), longest: usize, runs: u32) -> Target {
    Target { name, read, longest, runs }
}

/// All readers.
pub const TARGETS: &[Target] = &[
    target("bundle", targets::bundle, 4096, MANY),
    target("challenge", targets::challenge, 256, MANY),
    target("claim", targets::claim, 2048, MANY),
    target("condition", targets::condition, 128, SOME),
    target("configuration", targets::configuration, 2048, SOME),
    target("docker_config", targets::docker_config, 1024, MANY),
    target("dockerfile", targets::dockerfile, 1024, MANY),
    target("dockerignore", targets::dockerignore, 128, SOME),
    target("link", targets::link, 256, MANY),
    target("manifest", targets::manifest, 2048, MANY),
    target("plan", targets::plan, 4096, MANY),
    target("reference", targets::reference, 300, MANY),
    target("referrers", targets::referrers, 2048, MANY),
    target("statement", targets::statement, 4096, MANY),
    target("template", targets::template, 256, MANY),
    target("windows", targets::windows, 64, SOME),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_the_fuzzer_found_is_read() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in TARGETS {
            let folder = corpus.join(target.name);
            let mut read = 0;
            for entry in fs::read_dir(&folder).unwrap_or_else(|_| panic!("{}", folder.display())) {
                (target.read)(&fs::read(entry.unwrap().path()).unwrap());
                read += 1;
            }
            assert!(read > 1, "{} holds {read} inputs", folder.display());
        }
    }

    #[test]
    fn every_folder_has_its_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for entry in fs::read_dir(corpus).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(TARGETS.iter().any(|target| target.name == name), "{name:?}");
        }
    }
}
