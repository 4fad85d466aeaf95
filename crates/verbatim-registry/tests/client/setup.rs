//! Clients, images and registries for the tests.

use std::time::Duration;

use bytes::Bytes;
use test_registry::{Config as RegistryConfig, Distribution, Registry};
use verbatim_credentials::{Credential, Keychain};
use verbatim_oci::{
    Descriptor, Digest, ImageManifest, Index, Platform, Reference, Repository, media_type,
};
use verbatim_registry::{Client, Config, ManifestName};

/// Settings with waits that a test can afford.
pub(crate) fn config() -> Config {
    let mut config = Config::new("verbatim-test/1");
    config.retry.first_wait = Duration::from_millis(2);
    config.fallback_settle = Duration::from_millis(20);
    config
}

pub(crate) fn client() -> Client {
    Client::new(config(), Keychain::anonymous()).expect("a client")
}

/// A client that logs in to `host`.
pub(crate) fn client_with(host: &str, credential: Credential) -> Client {
    Client::new(config(), Keychain::fixed(host, credential)).expect("a client")
}

pub(crate) fn password(username: &str, password: &str) -> Credential {
    Credential::Basic { username: username.into(), password: password.into() }
}

pub(crate) async fn registry() -> Registry {
    Registry::start(RegistryConfig::default()).await.expect("a registry")
}

/// A registry without the referrers API.
pub(crate) async fn old_registry() -> Registry {
    let config = RegistryConfig { referrers_api: false, ..RegistryConfig::default() };
    Registry::start(config).await.expect("a registry")
}

pub(crate) fn repository(host: &str) -> Repository {
    format!("{host}/example/app").parse().expect("a repository")
}

pub(crate) fn tagged(host: &str, tag: &str) -> Reference {
    format!("{host}/example/app:{tag}").parse().expect("a reference")
}

/// Pushes an image whose content is told apart by `content`.
pub(crate) async fn push_image(client: &Client, reference: &Reference, content: &str) -> Digest {
    let repository = &reference.repository;
    let config = Bytes::from(format!(r#"{{"os":"linux","architecture":"amd64","x":"{content}"}}"#));
    let layer = Bytes::from(content.to_owned());
    for blob in [&config, &layer] {
        client.push_blob(repository, blob.clone()).await.expect("a blob");
    }
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.into()),
        artifact_type: None,
        config: Descriptor::of(media_type::OCI_CONFIG, &config),
        layers: vec![Descriptor::of(media_type::OCI_LAYER_GZIP, &layer)],
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest).expect("JSON");
    put(client, reference, media_type::OCI_MANIFEST, bytes).await
}

/// Pushes an index of images for these platforms; the digests of the images are those of `name-platform`.
pub(crate) async fn push_index(
    client: &Client,
    reference: &Reference,
    platforms: &[&str],
) -> Digest {
    let mut manifests = Vec::new();
    for text in platforms {
        let platform: Platform = text.parse().expect("a platform");
        let tag = format!("image-{}", text.replace('/', "-"));
        let one = tagged(reference.repository.registry(), &tag);
        push_image(client, &one, text).await;
        let fetched = client.manifest(&one).await.expect("the image");
        let descriptor = fetched.descriptor().expect("a manifest");
        manifests.push(Descriptor { platform: Some(platform), ..descriptor });
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.into()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: Default::default(),
    };
    put(client, reference, media_type::OCI_INDEX, serde_json::to_vec(&index).expect("JSON")).await
}

async fn put(client: &Client, reference: &Reference, media_type: &str, bytes: Vec<u8>) -> Digest {
    let name = ManifestName::Tag(reference.tag.clone().expect("a tag"));
    let put = client.put_manifest(&reference.repository, &name, media_type, bytes.into()).await;
    put.expect("a manifest").digest
}

/// The reference implementation of a registry, if `VERBATIM_TEST_REGISTRY` says where its program is.
pub(crate) async fn distribution() -> Option<Distribution> {
    let program = needs::service(needs::Service::Registry)?;
    Some(Distribution::start(program.as_ref()).await.expect("the registry starts"))
}
