//! Pushes an image of the local Docker Engine, and prints its digest in the registry:
//! `cargo run -p verbatim-image --example push -- registry.example.com/shop:42`.

#![expect(clippy::disallowed_methods, reason = "an example is an edge: it reads the environment")]

use std::error::Error;
use std::time::Duration;

use verbatim_credentials::{CredentialEnvironment, Keychain};
use verbatim_image::{Endpoint, EndpointConfig, Engine, PushConfig, REQUEST_TIMEOUT, push};
use verbatim_registry::{Client, Config};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints its answer")]
async fn main() -> Result<(), Box<dyn Error>> {
    let image = std::env::args().nth(1).ok_or("name an image")?.parse()?;
    let keychain =
        Keychain::from_environment(&CredentialEnvironment::from_map(&std::env::vars().collect()));
    let host = std::env::var("DOCKER_HOST").ok();
    let endpoint = Endpoint::find(&EndpointConfig { host, ..EndpointConfig::default() })?;
    let engine = Engine::connect(&endpoint, REQUEST_TIMEOUT).await?;
    let registry = Client::new(Config::new("example/1"), keychain.clone())?;
    let config = PushConfig {
        image,
        overwrite: false,
        timeout: Duration::from_secs(600),
        idle_timeout: Duration::from_secs(60),
    };
    let pushed = push(&engine, &registry, &keychain, &config, &mut |_| {}).await?;
    println!("{}", pushed.reference);
    Ok(())
}
