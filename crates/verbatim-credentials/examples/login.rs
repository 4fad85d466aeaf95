//! Says which credential a registry gets, without the secret:
//! `cargo run -p verbatim-credentials --example login -- registry.example.com/shop`.

#![expect(clippy::disallowed_methods, reason = "an example is an edge: it reads the environment")]

use std::error::Error;

use verbatim_credentials::{Credential, CredentialEnvironment, Keychain};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints its answer")]
async fn main() -> Result<(), Box<dyn Error>> {
    let repository = std::env::args().nth(1).ok_or("name a repository: HOST/PATH")?;
    let (registry, path) = repository.split_once('/').ok_or("want HOST/PATH")?;
    let keychain =
        Keychain::from_environment(&CredentialEnvironment::from_map(&std::env::vars().collect()));
    match keychain.lookup(registry, path).await? {
        Credential::Anonymous => println!("{registry}: not logged in"),
        Credential::Basic { username, .. } => println!("{registry}: logged in as {username}"),
        _ => println!("{registry}: logged in with a token"),
    }
    Ok(())
}
