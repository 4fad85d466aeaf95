//! A fresh world for one cell, and what stands in its services. Must not judge.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use e2e::{Run, Tool, World};
use serde_json::Value;
use test_servers::fault_proxy::{FaultProxy, Seen, Upstream};
use verbatim_oci::Digest;
use verbatim_record::{EnvironmentArtifact, EnvironmentId};

use crate::cell::{Command, Service};

/// A world in which one command is about to run.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) tool: Tool,
    engine: Option<FaultProxy>,
    engine_upstream: Option<Upstream>,
    command: Command,
    release: String,
}

/// What stands in the services.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remote {
    /// The Helm parameters of the application.
    pub(crate) parameters: Vec<(String, String)>,
    /// The claim on it.
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
    /// record, and an older release that runs; for a test the promotion.
    pub(crate) async fn set(command: Command, engine: Option<&str>) -> Result<Self> {
        let world = World::start().await?;
        let short = "project: shop\nrequest_timeout: 1s\n";
        let configuration = world.configuration().replacen("project: shop\n", short, 1);
        let configuration = configuration.replacen(
            "    apps: [shop-dev]\n",
            "    apps: [shop-dev]\n    timeout: 20s\n",
            1,
        );
        world.project.write("verbatim.yaml", &configuration)?;
        world.project.write("Dockerfile", "FROM scratch\nCOPY verbatim.yaml /\n")?;
        let mut tool = world.tool.clone();
        let (mut proxy, mut upstream) = (None, None);
        let mut release = String::new();
        match command {
            Command::Build => {
                let parsed = Upstream::parse(engine.context("a build needs an engine")?)?;
                let started = FaultProxy::start(parsed.clone()).await?;
                tool = tool.with("DOCKER_HOST", &started.docker_host());
                (proxy, upstream) = (Some(started), Some(parsed));
                world.project.commit("Something new").await?;
            }
            Command::Promote => {
                let old = world.release("Something old").await?;
                let _ = world.verbatim(&["promote", "dev", "--release", &old]).await?.ends(0);
                release = world.release("Something new").await?;
            }
            Command::Test => {
                release = world.release("Something new").await?;
                let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
            }
        }
        Ok(Self { world, tool, engine: proxy, engine_upstream: upstream, command, release })
    }

    /// The command line.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        match self.command {
            Command::Build => vec!["build"],
            Command::Promote => vec!["promote", "dev", "--release", &self.release],
            Command::Test => vec!["test", "dev", "--release", &self.release],
        }
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
        let tag = format!("{}/shop/app:local.{}", self.world.registry.host(), &commit[..12]);
        match e2e::client()?.resolve(&tag.parse()?).await {
            Ok(resolved) => Ok(Some(resolved.digest())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error).context("cannot look at the tag"),
        }
    }

    /// Looks at the services, past the proxies.
    pub(crate) async fn remote(&self) -> Result<Remote> {
        let application = self.world.api(http::Method::GET, "/shop-dev", None).await?;
        let claim = application.pointer("/metadata/annotations/verbatim.dev~1claim");
        let claim = claim.and_then(Value::as_str).map_or(Ok(Value::Null), serde_json::from_str)?;
        let history = application.pointer("/status/history").and_then(Value::as_array);
        let environment = EnvironmentId::new("shop", "dev")?;
        let ledger = self.records(EnvironmentArtifact::of(&environment).digest()).await?.len();
        let records = match self.digest().await? {
            Some(digest) => self.records(&digest).await?,
            None => Vec::new(),
        };
        Ok(Remote {
            parameters: self.world.parameters("shop-dev").await?,
            claim,
            operations: history.map_or(0, Vec::len),
            tags: self.tags().await?,
            records,
            ledger,
        })
    }

    async fn tags(&self) -> Result<BTreeSet<String>> {
        let answer = self.get("tags/list").await?;
        let tags = answer["tags"].as_array().into_iter().flatten();
        Ok(tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect())
    }

    async fn records(&self, subject: &Digest) -> Result<Vec<String>> {
        let answer = self.get(&format!("referrers/{subject}")).await?;
        let records = answer["manifests"].as_array().into_iter().flatten();
        let kind = |record: &Value| {
            let kind = &record["annotations"]["dev.sigstore.bundle.predicateType"];
            kind.as_str().unwrap_or_default().to_owned()
        };
        let mut kinds: Vec<String> = records.map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}/v2/{}/{path}", self.world.registry.url(), REPOSITORY);
        let answer = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
        match answer.status().is_success() {
            true => Ok(serde_json::from_str(&answer.text().await?)?),
            // Nothing was pushed yet.
            false => Ok(Value::Null),
        }
    }
}

const REPOSITORY: &str = "shop/app";

/// What a command must have done when it says that it did it.
pub(crate) async fn done(stage: &Stage, command: Command) -> Result<Result<Remote, String>> {
    let remote = stage.remote().await?;
    let digest = stage.digest().await?.map(|digest| digest.to_string()).unwrap_or_default();
    let has = |kind: &str| remote.records.iter().any(|record| record.contains(kind));
    let is_set = remote.parameters.iter().any(|(name, value)| {
        name == "image.tag" && !digest.is_empty() && value.ends_with(&format!("@{digest}"))
    });
    let missing = match command {
        Command::Build if digest.is_empty() => "the tag is not there",
        Command::Build if !has("slsa.dev/provenance") => "the build is not recorded",
        Command::Promote | Command::Test if !is_set => "the application has another digest",
        Command::Promote if !has("urn:verbatim:promotion") => "the promotion is not recorded",
        Command::Promote if remote.ledger == 0 => "the ledger is empty",
        Command::Test if !has("in-toto.io/attestation/test-result") => "the test is not recorded",
        _ => return Ok(Ok(remote)),
    };
    Ok(Err(missing.to_owned()))
}
