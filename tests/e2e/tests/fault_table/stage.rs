//! A fresh world for one cell, and what stands in its services. Must not judge.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use e2e::{Run, Tool, World};
use fault_proxy::{FaultProxy, Seen, Upstream};
use serde_json::Value;
use verbatim_oci::{Descriptor, Digest, Manifest, Reference, Repository};
use verbatim_record::{EnvironmentArtifact, EnvironmentId};
use verbatim_registry::{Client, DerivedTags};

use crate::cell::Service;
use crate::scene::{Command, Scene};
use crate::shape::Names;

/// A world in which one command is about to run.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) tool: Tool,
    engine: Option<FaultProxy>,
    engine_upstream: Option<Upstream>,
    pub(crate) scene: Scene,
    release: String,
    older: Option<String>,
    /// How many commands it was made ready for.
    uses: usize,
}

/// A configuration with short deadlines, for services that do not answer. Elsewhere a machine that is busy would be taken
/// for one.
pub(crate) const HASTY: &str = "hasty.yaml";

/// What stands in the services.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remote {
    /// The Helm parameters of the application.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) claim: Value,
    /// How many operations it has had.
    pub(crate) operations: usize,
    /// The tags in the repository.
    pub(crate) tags: BTreeSet<String>,
    /// The predicate types of the records of the release.
    pub(crate) records: Vec<String>,
    /// The records of the environment.
    pub(crate) ledger: usize,
}

impl Stage {
    /// Makes everything that has to be there before the command: for a build its sources; for a promotion an image with its
    /// record, and an older release that runs, or the environment before; for a test the promotion.
    pub(crate) async fn set(scene: Scene, engine: Option<&str>) -> Result<Self> {
        let world = World::start_with(scene.registry()).await?;
        let configuration = world.configuration();
        let configuration = configuration.replacen(
            "    apps: [shop-dev]\n",
            "    apps: [shop-dev]\n    timeout: 30s\n",
            1,
        );
        world.project.write("verbatim.yaml", &configuration)?;
        let hasty = configuration
            .replacen("project: shop\n", "project: shop\nrequest_timeout: 1s\n", 1)
            .replacen("${short_commit}\" }", "${short_commit}\", idle_timeout: 8s }", 1);
        world.project.write(HASTY, &hasty)?;
        world.project.write("Dockerfile", "FROM scratch\nCOPY verbatim.yaml /\n")?;
        let mut tool = world.tool.clone();
        let (mut proxy, mut upstream) = (None, None);
        if scene.command == Command::Build {
            let parsed = Upstream::parse(engine.context("a build needs an engine")?)?;
            let started = FaultProxy::start(parsed.clone()).await?;
            tool = tool.with("DOCKER_HOST", &started.docker_host());
            (proxy, upstream) = (Some(started), Some(parsed));
        }
        let mut stage = Self {
            world,
            tool,
            engine: proxy,
            engine_upstream: upstream,
            scene,
            release: String::new(),
            older: None,
            uses: 0,
        };
        if matches!(scene.command, Command::Promote | Command::Test) {
            stage.release = stage.world.release("Something old").await?;
            stage.promote("dev").await?;
        }
        stage.next().await?;
        Ok(stage)
    }

    /// Makes what the command is run on: something new to build, to promote or to test. The world may have seen earlier
    /// runs, as every world but the first has.
    pub(crate) async fn next(&mut self) -> Result<()> {
        self.uses += 1;
        // A CI begins with a fresh clone.
        let left = self.world.project.root.join(".verbatim");
        if left.exists() {
            std::fs::remove_dir_all(left)?;
        }
        let message = format!("Something new, {}", self.uses);
        match self.scene.command {
            Command::Build => drop(self.world.project.commit(&message).await?),
            Command::Promote => {
                let new = self.world.release(&message).await?;
                self.older = Some(std::mem::replace(&mut self.release, new));
            }
            Command::PromoteGated => {
                let new = self.world.release(&message).await?;
                let older = std::mem::replace(&mut self.release, new);
                self.older = Some(older).filter(|older| !older.is_empty());
                self.world.carry(&self.release, &["dev"]).await?;
            }
            Command::Test => {}
        }
        Ok(())
    }

    /// Whether another command may be run here. A ledger that grows makes everything slower.
    pub(crate) fn is_fresh(&self) -> bool {
        self.uses < 6
    }

    async fn promote(&self, environment: &str) -> Result<()> {
        let arguments = ["promote", environment, "--release", &self.release];
        let _ = self.world.verbatim(&arguments).await?.ends(0);
        Ok(())
    }

    pub(crate) fn arguments(&self) -> Vec<&str> {
        match self.scene.command {
            Command::Build => vec!["build"],
            Command::Promote | Command::PromoteGated => {
                vec!["promote", self.environment(), "--release", &self.release]
            }
            Command::Test => vec!["test", "dev", "--release", &self.release],
        }
    }

    /// The environment that the command is about.
    pub(crate) fn environment(&self) -> &'static str {
        match self.scene.command {
            Command::PromoteGated => "staging",
            Command::Build | Command::Promote | Command::Test => "dev",
        }
    }

    pub(crate) fn app(&self) -> String {
        format!("shop-{}", self.environment())
    }

    /// Names for the digests that are known before the command runs.
    pub(crate) async fn names(&self) -> Result<Names> {
        let mut names = Names::default();
        let releases = [("RELEASE", Some(&self.release)), ("OLDER", self.older.as_ref())];
        for (name, release) in releases {
            let Some((_, digest)) = release.and_then(|release| release.split_once('@')) else {
                continue;
            };
            names.add(&digest.parse()?, name);
            self.name_records(&mut names, &digest.parse()?, name).await?;
            self.name_layers(&mut names, digest.parse()?).await?;
        }
        for environment in e2e::ENVIRONMENTS {
            let ledger = ledger(environment)?;
            let name = format!("LEDGER-{environment}");
            names.add(&ledger, &name);
            self.name_records(&mut names, &ledger, &name).await?;
        }
        Ok(names)
    }

    async fn name_records(&self, names: &mut Names, subject: &Digest, of: &str) -> Result<()> {
        for record in self.referrers(subject).await? {
            names.add(&record.digest, format!("RECORD-{of}"));
        }
        Ok(())
    }

    /// Names what a node would pull of an image; of one that is not there yet, nothing.
    async fn name_layers(&self, names: &mut Names, image: Digest) -> Result<()> {
        let mut left = vec![image];
        while let Some(digest) = left.pop() {
            let reference = Reference::by_digest(self.repository()?, digest);
            let Ok(manifest) = self.client()?.manifest(&reference).await else { continue };
            match manifest.parse()? {
                Manifest::Image(image) => {
                    let all = std::iter::once(&image.config).chain(&image.layers);
                    all.for_each(|blob| names.add(&blob.digest, "LAYER"));
                }
                Manifest::Index(index) => left.extend(index.images().map(|image| image.digest)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs the command to its end.
    pub(crate) async fn run(&self) -> Result<Run> {
        self.tool.run(&self.arguments()).await
    }

    /// The proxy before a service.
    pub(crate) fn proxy(&self, service: Service) -> Result<&FaultProxy> {
        match service {
            Service::Engine => self.engine.as_ref().context("this command has no engine"),
            Service::Registry => Ok(&self.world.registry_proxy),
            Service::ArgoCd => Ok(&self.world.argocd_proxy),
        }
    }

    /// The requests to a service since the first `from` ones.
    pub(crate) fn seen(&self, service: Service, from: usize) -> Result<Vec<Seen>> {
        Ok(self.proxy(service)?.seen().split_off(from))
    }

    /// Mends a service: the faults are gone, and somebody listens again.
    pub(crate) async fn heal(&mut self, service: Service) -> Result<()> {
        self.proxy(service)?.heal();
        let listen = self.proxy(service)?.address();
        if tokio::net::TcpStream::connect(listen).await.is_ok() {
            return Ok(());
        }
        match service {
            Service::Engine => {
                let upstream =
                    self.engine_upstream.clone().context("this command has no engine")?;
                self.engine = Some(FaultProxy::start_at(listen, upstream).await?);
            }
            Service::Registry => {
                let upstream = Upstream::Tcp(self.world.registry.host());
                self.world.registry_proxy = FaultProxy::start_at(listen, upstream).await?;
            }
            Service::ArgoCd => {
                let upstream = Upstream::parse(&self.world.argocd.url())?;
                self.world.argocd_proxy = FaultProxy::start_at(listen, upstream).await?;
            }
        }
        Ok(())
    }

    /// The digest of the release; of a build, what its tag points to.
    pub(crate) async fn digest(&self) -> Result<Option<Digest>> {
        if let Some((_, digest)) = self.release.split_once('@') {
            return Ok(Some(digest.parse()?));
        }
        let commit = self.world.project.git(&["rev-parse", "HEAD"]).await?;
        let tag = format!("{}:local.{}", self.repository()?, &commit[..12]);
        match self.client()?.resolve(&tag.parse()?).await {
            Ok(resolved) => Ok(Some(resolved.digest())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error).context("cannot look at the tag"),
        }
    }

    /// Looks at the services, past the proxies.
    pub(crate) async fn remote(&self) -> Result<Remote> {
        let app = self.app();
        let application = self.world.api(http::Method::GET, &format!("/{app}"), None).await?;
        let claim =
            format!("/metadata/annotations/verbatim.dev~1claim.shop.{}", self.environment());
        let claim = application.pointer(&claim);
        let claim = claim.and_then(Value::as_str).map_or(Ok(Value::Null), serde_json::from_str)?;
        let history = application.pointer("/status/history").and_then(Value::as_array);
        let ledger = self.records(&ledger(self.environment())?).await?.len();
        let records = match self.digest().await? {
            Some(digest) => self.records(&digest).await?,
            None => Vec::new(),
        };
        Ok(Remote {
            parameters: self.world.parameters(&app).await?,
            claim,
            operations: history.map_or(0, Vec::len),
            tags: self.tags().await?,
            records,
            ledger,
        })
    }

    async fn tags(&self) -> Result<BTreeSet<String>> {
        let tags = self.client()?.tags(&self.repository()?, DerivedTags::Hide).await;
        match tags {
            Ok(tags) => Ok(tags.into_iter().map(|tag| tag.to_string()).collect()),
            // Nothing was pushed yet.
            Err(error) if error.is_not_found() => Ok(BTreeSet::new()),
            Err(error) => Err(error).context("cannot list the tags"),
        }
    }

    /// The predicate types of the records of something.
    async fn records(&self, subject: &Digest) -> Result<Vec<String>> {
        let mut records = self.referrers(subject).await?;
        let kind = |record: &mut Descriptor| record.annotations.remove(PREDICATE_TYPE);
        let mut kinds: Vec<String> = records.iter_mut().filter_map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let listed = self.client()?.referrers(&self.repository()?, subject, None).await;
        Ok(listed.context("cannot list the records")?.descriptors)
    }

    /// The repository, past the proxy.
    fn repository(&self) -> Result<Repository> {
        Ok(format!("{}/shop/app", self.world.registry.host()).parse()?)
    }

    fn client(&self) -> Result<Client> {
        e2e::client_with(self.world.keychain.clone())
    }
}

const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// What the ledger of an environment hangs on.
fn ledger(environment: &str) -> Result<Digest> {
    let id = EnvironmentId::new("shop", environment)?;
    Ok(*EnvironmentArtifact::of(&id).digest())
}

/// What a command must have done when it says that it did it.
pub(crate) async fn done(stage: &Stage) -> Result<Result<Remote, String>> {
    let remote = stage.remote().await?;
    let digest = stage.digest().await?.map(|digest| digest.to_string()).unwrap_or_default();
    let has = |kind: &str| remote.records.iter().any(|record| record.contains(kind));
    let is_set = remote.parameters.iter().any(|(name, value)| {
        name == "image.tag" && !digest.is_empty() && value.ends_with(&format!("@{digest}"))
    });
    let missing = match stage.scene.command {
        Command::Build if digest.is_empty() => "the tag is not there",
        Command::Build if !has("slsa.dev/provenance") => "the build is not recorded",
        Command::Promote | Command::PromoteGated | Command::Test if !is_set => {
            "the application has another digest"
        }
        Command::Promote | Command::PromoteGated if !has("urn:verbatim:promotion") => {
            "the promotion is not recorded"
        }
        Command::Promote | Command::PromoteGated if remote.ledger == 0 => "the ledger is empty",
        Command::Test if !has("in-toto.io/attestation/test-result") => "the test is not recorded",
        _ => return Ok(Ok(remote)),
    };
    Ok(Err(missing.to_owned()))
}
