//! A world with people in it, who have keys of their own, and gates that they can open and close.

use anyhow::{Result, ensure};
use serde_json::Value;
use verbatim_credentials::ExposeSecret as _;

use crate::project::key;
use crate::run::Run;
use crate::world::World;

/// A world whose policy has these gates before dev, and two people: `lead`, a release manager, and `chief`, who may break
/// the glass. Their private keys lie beside the project under their names.
///
/// # Errors
/// As [`World::start`].
pub async fn with_gates(gates: &str) -> Result<World> {
    let world = World::start().await?;
    for (name, seed) in [("lead", 21), ("chief", 22)] {
        world.project.write(&format!("{name}.pub"), &key(seed)?.verifying_key().to_pem()?)?;
        let private = key(seed)?.to_pkcs8_pem()?;
        std::fs::write(world.beside(name), private.expose_secret())?;
    }
    let text = world.configuration();
    let configuration =
        text.replace("    apps: [shop-dev]\n", &format!("    apps: [shop-dev]\n{gates}"));
    ensure!(configuration.contains(gates), "the configuration has another shape");
    let people = "  - { name: lead, file: lead.pub, roles: [release-manager] }\n  - { name: chief, file: chief.pub, roles: [promoter, break-glass] }\n";
    world.project.write("verbatim.yaml", &format!("{configuration}{people}"))?;
    Ok(world)
}

/// Runs the binary with the key of a person instead of that of the pipeline.
///
/// # Errors
/// As [`World::verbatim`].
pub async fn by(world: &World, person: &str, arguments: &[&str]) -> Result<Run> {
    let file = world.beside(person);
    let tool = world.tool.clone().with("VERBATIM_KEY", "");
    tool.with("VERBATIM_KEY_FILE", &file.to_string_lossy()).run(arguments).await
}

/// The gates that refuse, in the JSON of a command that asked them.
pub fn refusals(run: &Value) -> Vec<&str> {
    let answers = run["decision"]["answers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refused = answers.iter().filter(|answer| answer["passed"] == false);
    refused.filter_map(|answer| answer["gate"].as_str()).collect()
}
