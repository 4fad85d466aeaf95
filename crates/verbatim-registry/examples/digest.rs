//! Turns a tag into a digest, and counts what refers to it:
//! `cargo run -p verbatim-registry --example digest -- registry.example.com/shop:42`.

#![expect(clippy::disallowed_methods, reason = "an example is an edge: it reads the environment")]

use std::error::Error;

use verbatim_credentials::{CredentialEnvironment, Keychain};
use verbatim_oci::Reference;
use verbatim_registry::{Client, Config};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints its answer")]
async fn main() -> Result<(), Box<dyn Error>> {
    let image: Reference = std::env::args().nth(1).ok_or("name an image")?.parse()?;
    let keychain =
        Keychain::from_environment(&CredentialEnvironment::from_map(&std::env::vars().collect()));
    let client = Client::new(Config::new("example/1"), keychain)?;
    let resolved = client.resolve(&image).await?;
    let repository = &resolved.reference.repository;
    let listed = client.referrers(repository, &resolved.digest(), None).await?;
    println!("{}: {} referrers", resolved.reference, listed.descriptors.len());
    Ok(())
}
