//! Pushes from a real engine to a real registry.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use std::time::Duration;

use support::{
    Image, PASSWORD, Registry, Tree, client, config, docker_host, engine, registry_binary, unique,
};
use verbatim_credentials::{Credential, Keychain};
use verbatim_image::{
    Builder, Engine, EngineEvent, Error, ErrorKind, ExistingImage, PushConfig, PushOutcome,
    PushedImage, TagState, build, existing, push, tag_state,
};
use verbatim_oci::Reference;

/// Longer than any push of these tests takes.
const LIMIT: Duration = Duration::from_secs(60);

struct PushBench {
    engine: Engine,
    registry: Registry,
    keychain: Keychain,
    host: String,
}

impl PushBench {
    async fn new(wants_login: bool) -> Option<Self> {
        let (host, binary) = (docker_host()?, registry_binary()?);
        let registry = Registry::start(&binary, wants_login).await;
        let keychain = Keychain::anonymous();
        Some(Self { engine: engine(&host).await, registry, keychain, host })
    }

    /// Builds an image whose only content is `content`.
    async fn build(&self, name: &str, content: &str, builder: Builder) -> Image {
        let tree = Tree::new(&[("Dockerfile", "FROM scratch\nCOPY file /\n"), ("file", content)]);
        let mut config = config(name, tree.path());
        config.origin.revision = Some(content.to_owned());
        config.builder = Some(builder);
        build(&self.engine, &self.keychain, &config, &mut |_| {}).await.unwrap();
        Image::new(&self.host, name)
    }

    async fn push(&self, name: &str, overwrite: bool) -> Result<PushedImage, Error> {
        let image = name.parse().unwrap();
        let config = PushConfig { image, overwrite, timeout: LIMIT, idle_timeout: LIMIT };
        let client = client(&self.keychain);
        push(&self.engine, &client, &self.keychain, &config, &mut |_| {}).await
    }

    fn name(&self, name: &str) -> String {
        self.registry.reference(&unique(name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_is_the_hash_of_what_the_registry_holds() {
    let Some(bench) = PushBench::new(false).await else { return };
    for builder in [Builder::Classic, Builder::BuildKit] {
        let name = bench.name("digest");
        let _image = bench.build(&name, "one", builder).await;
        let pushed = bench.push(&name, false).await.unwrap();
        let reference: Reference = name.parse().unwrap();
        let resolved = client(&bench.keychain).resolve(&reference).await.unwrap();
        assert_eq!(pushed.digest, resolved.digest());
        assert_eq!(pushed.reference, resolved.reference);
        assert_eq!(pushed.size, resolved.manifest.bytes.len() as u64);
        assert_eq!(pushed.how, PushOutcome::Pushed);
        let platforms: Vec<String> = pushed.platforms.iter().map(ToString::to_string).collect();
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        assert_eq!(platforms, [format!("linux/{architecture}")]);
        let json = serde_json::to_value(&pushed).unwrap();
        assert_eq!(json["digest"], pushed.digest.to_string());
        assert_eq!(json["platforms"][0], platforms[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_not_taken_from_another_image() {
    let Some(bench) = PushBench::new(false).await else { return };
    let name = bench.name("taken");
    let _first = bench.build(&name, "one", Builder::Classic).await;
    let first = bench.push(&name, false).await.unwrap();
    // The same image again is no conflict, and no push.
    let again = bench.push(&name, false).await.unwrap();
    assert_eq!((again.digest, again.how), (first.digest, PushOutcome::AlreadyThere));

    let _second = bench.build(&name, "two", Builder::Classic).await;
    let error = bench.push(&name, false).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TagTaken { existing } if *existing == first.digest),
        "{error:?}"
    );
    let reference: Reference = name.parse().unwrap();
    let client = client(&bench.keychain);
    assert_eq!(tag_state(&client, &reference).await, TagState::Names(first.digest));

    let second = bench.push(&name, true).await.unwrap();
    assert_ne!(second.digest, first.digest);
    assert_eq!(tag_state(&client, &reference).await, TagState::Names(second.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_the_same_revision_is_found() {
    let Some(bench) = PushBench::new(false).await else { return };
    let name = bench.name("revision");
    let reference: Reference = name.parse().unwrap();
    let client = client(&bench.keychain);
    assert_eq!(existing(&client, &reference, "one").await.unwrap(), ExistingImage::Nothing);
    assert_eq!(tag_state(&client, &reference).await, TagState::Absent);
    let _image = bench.build(&name, "one", Builder::Classic).await;
    let pushed = bench.push(&name, false).await.unwrap();
    let found = existing(&client, &reference, "one").await.unwrap();
    assert_eq!(
        found,
        ExistingImage::SameRevision(PushedImage { how: PushOutcome::Reused, ..pushed.clone() })
    );
    let other = existing(&client, &reference, "two").await.unwrap();
    let revision = Some("one".to_owned());
    assert_eq!(other, ExistingImage::Other { digest: pushed.digest, revision });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_reaches_the_registry_through_the_engine() {
    let Some(mut bench) = PushBench::new(true).await else { return };
    let name = bench.name("login");
    let _image = bench.build(&name, "one", Builder::Classic).await;
    let with = |password: &str| {
        let password = password.to_owned().into();
        let credential = Credential::Basic { username: "bot".to_owned(), password };
        Keychain::fixed(bench.registry.host.clone(), credential)
    };
    let (right, wrong) = (with(PASSWORD), with("wrong"));

    // Without a look at the tag first, it is the engine that is refused.
    for keychain in [Keychain::anonymous(), wrong] {
        bench.keychain = keychain;
        let error = bench.push(&name, true).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::RegistryRefused { .. }), "{error:?}");
        let error = bench.push(&name, false).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Registry(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    }
    bench.keychain = right;
    bench.push(&name, false).await.unwrap();

    // A base image behind the same login, for both builders.
    let tree = Tree::new(&[("Dockerfile", &format!("FROM {name}\nLABEL a=b\n"))]);
    for builder in [Builder::Classic, Builder::BuildKit] {
        let child = bench.name("child");
        let _child = Image::new(&bench.host, &child);
        let mut config = config(&child, tree.path());
        config.builder = Some(builder);
        config.pull = true;
        build(&bench.engine, &bench.keychain, &config, &mut |_| {}).await.unwrap();
        let error = build(&bench.engine, &Keychain::anonymous(), &config, &mut |_| {}).await;
        let error = error.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::RegistryRefused { .. }), "{builder}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told() {
    let Some(bench) = PushBench::new(false).await else { return };
    let error = bench.push(&bench.name("absent"), false).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoImage(_)), "{error:?}");

    let name = "127.0.0.1:1/nobody/here:1";
    let _image = bench.build(name, "one", Builder::Classic).await;
    let error = bench.push(name, false).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Registry(_)), "{error:?}");
    // When the tag need not be looked at first, the engine tries, and once more.
    let mut warnings = 0;
    let config = PushConfig {
        image: name.parse().unwrap(),
        overwrite: true,
        timeout: LIMIT,
        idle_timeout: LIMIT,
    };
    let client = client(&bench.keychain);
    let mut count = |event| warnings += usize::from(matches!(event, EngineEvent::Warning(_)));
    let error = push(&bench.engine, &client, &bench.keychain, &config, &mut count).await;
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RegistryUnreachable { .. }), "{error:?}");
    assert_eq!(warnings, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_short_says_what_the_tag_names() {
    let Some(bench) = PushBench::new(false).await else { return };
    let name = bench.name("short");
    let _image = bench.build(&name, "one", Builder::Classic).await;
    let config = PushConfig {
        image: name.parse().unwrap(),
        overwrite: false,
        timeout: Duration::from_millis(1),
        idle_timeout: LIMIT,
    };
    let client = client(&bench.keychain);
    let error = push(&bench.engine, &client, &bench.keychain, &config, &mut |_| {}).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::PushUnfinished { state: TagState::Absent, .. }),
        "{error:?}"
    );
}
