//! What `tests/fuzz` calls: readers of files that nobody outside may call.

use crate::registry::docker_config::DockerConfig;

/// Reads a `config.json`; gives in how many places a login for this repository may be.
pub fn docker_config(text: &[u8], registry: &str, path: &str) -> Option<usize> {
    let config = DockerConfig::parse(text).ok()?;
    config.registries();
    Some(config.places(registry, path).len())
}
