//! `build`: builds an image from a directory, and pushes it on request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use verbatim_console::{Console, ExitStatus, Failure, StepState};
use verbatim_oci::{Platform, Reference};
use verbatim_registry::cli::RegistryArgs;

use super::report::{self, ImageReport, ReportArgs};
use super::{EngineArgs, EngineProgress, failure, parse_duration, push, registry, variables};
use crate::labels::{self, ImageOrigin, SourceDateEpoch};
use crate::{
    BuildConfig, Builder, BuiltImage, Engine, ExistingImage, PushConfig, Withheld, build, existing,
};

const STEP: &str = "build the image";

/// Build an image on a Docker Engine, and push it
///
/// Sends the directory to the engine like `docker build`, honoring `.dockerignore`, and prints the image id; with
/// `--push`, the image with its digest in the registry.
///
/// Files are sent in a fixed order and without owners, all with the time of the commit (--created), so the same commit gives
/// the same layers on every machine. The source of the image is recorded in its labels (org.opencontainers.image.*).
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-image build --tag example/app:dev .
  verbatim-image build --push --tag registry.example.com/shop/cart:17 \\
    --revision \"$(git rev-parse HEAD)\" --created \"$(git log -1 --format=%cI)\"
  verbatim-image build --push --if-missing --tag \"$IMAGE\" \\
    --revision \"$COMMIT\" --metadata-file build.json")]
pub struct BuildArgs {
    /// The directory to build from
    #[arg(value_name = "DIRECTORY", default_value = ".")]
    pub context: PathBuf,

    /// The name of the image, for example registry.example.com/shop/cart:17
    #[arg(long, short, value_name = "IMAGE")]
    pub tag: Reference,

    /// The Dockerfile, in the directory or elsewhere [default: DIRECTORY/Dockerfile]
    #[arg(long, short = 'f', value_name = "FILE", visible_alias = "file")]
    pub dockerfile: Option<PathBuf>,

    /// Set a build argument; without a value, from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,

    /// Set a label
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,

    /// Build this stage [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// Build for this platform [default: the engine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// The network of RUN steps: host, none, or the name of a network
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,

    /// Pull base images even if the engine has them
    #[arg(long)]
    pub pull: bool,

    /// Do not use the cache
    #[arg(long)]
    pub no_cache: bool,

    /// Use the layers of this image as a cache
    #[arg(long, value_name = "IMAGE", value_delimiter = ',')]
    pub cache_from: Vec<String>,

    /// The builder to use
    #[arg(long, value_enum, default_value_t = BuilderChoice::Auto)]
    pub builder: BuilderChoice,

    /// Give up after this long, including the push
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Give up if the engine reports nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    pub idle_timeout: Duration,

    /// Push the image after the build
    #[arg(long)]
    pub push: bool,

    /// Move the tag if it points to another image in the registry
    #[arg(long, requires = "push")]
    pub overwrite: bool,

    /// Skip the build if the tag already has an image of this revision
    #[arg(long, requires = "push", requires = "revision", conflicts_with = "overwrite")]
    pub if_missing: bool,

    #[command(flatten)]
    pub origin: OriginArgs,

    /// Write the image id to this file, without a newline
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub iidfile: Option<PathBuf>,

    #[command(flatten)]
    pub report: ReportArgs,

    #[command(flatten)]
    pub engine: EngineArgs,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// The source of the image
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Labels")]
pub struct OriginArgs {
    /// The commit that is built (org.opencontainers.image.revision)
    #[arg(long, value_name = "COMMIT")]
    pub revision: Option<String>,

    /// The URL of the source code (org.opencontainers.image.source)
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,

    /// The time of the commit, RFC 3339 or seconds since 1970 (org.opencontainers.image.created)
    #[arg(long, value_name = "TIME", env = "SOURCE_DATE_EPOCH", value_parser = parse_time)]
    pub created: Option<jiff::Timestamp>,

    /// The version of the software in the image (org.opencontainers.image.version)
    #[arg(long, value_name = "VERSION")]
    pub image_version: Option<String>,
}

/// The builder to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BuilderChoice {
    /// The engine's preferred builder
    Auto,
    /// The classic builder
    Classic,
    /// BuildKit
    #[value(name = "buildkit")]
    BuildKit,
}

impl BuildArgs {
    fn config(&self, variables: &BTreeMap<String, String>) -> Result<BuildConfig, Failure> {
        if self.tag.digest.is_some() {
            return Err(Failure::usage("images are built under a tag; omit the digest"));
        }
        Ok(BuildConfig {
            image: self.tag.clone(),
            context: self.context.clone(),
            withheld: Withheld::default(),
            left_out: Vec::new(),
            dockerfile: self.dockerfile.clone(),
            build_args: build_args(&self.build_arg, variables)?,
            labels: pairs("--label", &self.label)?,
            origin: ImageOrigin {
                revision: self.origin.revision.clone(),
                source: self.origin.source.clone(),
                created: self.origin.created,
                version: self.origin.image_version.clone(),
            },
            epoch: epoch(variables)?,
            target: self.target.clone(),
            platform: self.platform.clone(),
            network: self.network.clone(),
            pull: self.pull,
            no_cache: self.no_cache,
            cache_from: self.cache_from.clone(),
            builder: match self.builder {
                BuilderChoice::Auto => None,
                BuilderChoice::Classic => Some(Builder::Classic),
                BuilderChoice::BuildKit => Some(Builder::BuildKit),
            },
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
        })
    }
}

pub(super) async fn run(args: BuildArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let variables = variables();
    let config = args.config(&variables)?;
    let (client, keychain) = registry(&args.registry, &variables)?;
    let started = tokio::time::Instant::now();
    console.plan_steps([STEP]);
    if args.push {
        console.plan_steps(["push the image"]);
    }

    if let (true, Some(revision)) = (args.if_missing, &args.origin.revision) {
        match existing(&client, &args.tag, revision).await.map_err(failure)? {
            ExistingImage::Nothing => {}
            ExistingImage::SameRevision(pushed) => {
                console
                    .status(format!("{} is already in the registry, nothing to build", args.tag));
                return finish(&args, ImageReport { built: None, pushed: Some(pushed) }, console);
            }
            ExistingImage::Other { digest, revision: found } => {
                return Err(taken(&args.tag, &digest.to_string(), found.as_deref(), revision));
            }
        }
    }
    let engine = args.engine.engine(&variables).await?;
    let built = build_image(&engine, &keychain, &config, console).await?;
    if let Some(path) = &args.iidfile {
        report::write(path, &built.id.to_string())?;
    }
    let pushed = if args.push {
        let timeout = args.timeout.saturating_sub(started.elapsed()).max(Duration::from_secs(1));
        let config = PushConfig {
            image: args.tag.clone(),
            overwrite: args.overwrite,
            timeout,
            idle_timeout: args.idle_timeout,
        };
        Some(push::push(&engine, &client, &keychain, &config, console).await?)
    } else {
        None
    };
    finish(&args, ImageReport { built: Some(built), pushed }, console)
}

async fn build_image(
    engine: &Engine,
    keychain: &verbatim_credentials::Keychain,
    config: &BuildConfig,
    console: &Console,
) -> Result<BuiltImage, Failure> {
    console.step(STEP, StepState::UnderWay);
    let mut progress = EngineProgress::new(console, format!("building {}", config.image));
    let mut on_event = |event| progress.show(event);
    let built = build(engine, keychain, config, &mut on_event).await.map_err(failure)?;
    console.step(STEP, StepState::Done);
    Ok(built)
}

fn finish(args: &BuildArgs, report: ImageReport, console: &Console) -> Result<ExitStatus, Failure> {
    console.result(&report)?;
    args.report.write(&report)?;
    Ok(ExitStatus::Done)
}

/// The failure of a build whose tag already names another image.
fn taken(image: &Reference, digest: &str, found: Option<&str>, wanted: &str) -> Failure {
    let found = found.unwrap_or("none");
    Failure::new(
        ExitStatus::Conflict,
        format!(
            "{image} already points to {digest}, whose {} is {found}, not {wanted}",
            labels::REVISION
        ),
    )
    .hint("build under another tag, or use `--overwrite` instead of `--if-missing`")
}

/// The time that the job sets, if it does.
fn epoch(variables: &BTreeMap<String, String>) -> Result<Option<SourceDateEpoch>, Failure> {
    let set = variables.get(SourceDateEpoch::VARIABLE).filter(|text| !text.is_empty());
    set.map(|text| text.parse().map_err(Failure::usage)).transpose()
}

/// `NAME=VALUE`, or `NAME` alone for a value of the environment. A name without a value is dropped, as in Docker.
fn build_args(
    given: &[String],
    variables: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let with_values = given.iter().filter_map(|text| match text.split_once('=') {
        Some(_) => Some(text.clone()),
        None => variables.get(text).map(|value| format!("{text}={value}")),
    });
    pairs("--build-arg", &with_values.collect::<Vec<_>>())
}

fn pairs(option: &str, given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("`{option} {text}` is not NAME=VALUE"))),
    };
    given.iter().map(pair).collect()
}

fn parse_time(text: &str) -> Result<jiff::Timestamp, String> {
    let parsed = match text.parse::<i64>() {
        Ok(seconds) => jiff::Timestamp::from_second(seconds).ok(),
        Err(_) => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        "expected RFC 3339, for example 2026-01-31T12:00:00Z, or seconds since 1970".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_without_a_value_come_from_the_environment() {
        let variables = BTreeMap::from([("HOME".to_owned(), "/h".to_owned())]);
        let given = ["A=1", "B=x=y", "HOME", "ABSENT", "EMPTY="].map(str::to_owned);
        let got = build_args(&given, &variables).unwrap();
        let want = [("A", "1"), ("B", "x=y"), ("EMPTY", ""), ("HOME", "/h")];
        assert_eq!(got, want.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        for (option, wrong) in [("--label", "x"), ("--label", "=x")] {
            let failure = pairs(option, &[wrong.to_owned()]).unwrap_err();
            assert_eq!(failure.status, ExitStatus::Usage);
        }
    }

    #[test]
    fn times() {
        let want = "2026-01-31T12:00:00Z".parse().unwrap();
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "1769860800"] {
            assert_eq!(parse_time(text), Ok(want), "{text}");
        }
        parse_time("yesterday").unwrap_err();
    }
}
