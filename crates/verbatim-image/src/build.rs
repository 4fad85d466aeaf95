//! Builds an image: sends the context, reads the engine's answer, and returns the image or an error.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::BuildInfo;
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{self, Instant, MissedTickBehavior};
use verbatim_credentials::Keychain;
use verbatim_oci::{Digest, Platform, Reference};

use crate::context::{
    ArchiveCounters, ArchiveWriter, BuildContext, SendError, Withheld, archive, base_repositories,
};
use crate::engine::{
    Builder, Engine, EngineEvent, IdleTimer, KeyStyle, Transcript, for_repositories, read_id,
};
use crate::error::{Error, ErrorKind};
use crate::labels::{ImageOrigin, SourceDateEpoch, file_time};

/// How often to report the progress of sending the context.
const SENDING_INTERVAL: Duration = Duration::from_millis(200);
/// How long the thread that reads the context may take to notice that the request has ended.
const ABANDON_TIME: Duration = Duration::from_secs(5);

/// The default for how long an engine may be silent while it builds or pushes. The classic builder is silent while a
/// step prints nothing, so this is long.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What to build, and how.
#[derive(Clone, Debug)]
pub struct BuildConfig {
    /// The name of the image in the engine. A digest in it is ignored.
    pub image: Reference,
    /// The directory to send.
    pub context: PathBuf,
    /// The Dockerfile, in the context or elsewhere; without it `Dockerfile` in the context.
    pub dockerfile: Option<PathBuf>,
    /// What must never get into an image, such as private keys. A build that would send it fails.
    pub withheld: Withheld,
    /// Files and folders of the context that are not sent, whatever the ignore file says of them.
    pub left_out: Vec<PathBuf>,
    /// Values of the Dockerfile's `ARG`s.
    pub build_args: BTreeMap<String, String>,
    /// Labels, in addition to those of `origin`.
    pub labels: BTreeMap<String, String>,
    /// The source of the image.
    pub origin: ImageOrigin,
    /// The time that the job sets for what it builds: that of the files, and what BuildKit gets as a build argument, as
    /// `docker buildx` hands it on. Without it the files have the time of the source.
    pub epoch: Option<SourceDateEpoch>,
    /// The stage to build; without it the last.
    pub target: Option<String>,
    /// The platform to build for; without it the engine's own.
    pub platform: Option<Platform>,
    /// The network of the steps: `host`, `none`, or one of the engine's; without it the engine's default.
    pub network: Option<String>,
    /// Whether to pull base images even if the engine has them.
    pub pull: bool,
    /// Whether to ignore the cache.
    pub no_cache: bool,
    /// Images whose layers may be used as a cache.
    pub cache_from: Vec<String>,
    /// The builder; without it the one that the engine prefers.
    pub builder: Option<Builder>,
    /// The time limit for all of it.
    pub timeout: Duration,
    /// How long the engine may neither report anything nor read more of the context.
    pub idle_timeout: Duration,
}

/// A built image. It is only in the engine so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltImage {
    /// The name of the image in the engine.
    pub image: Reference,
    /// The engine's id of the image. Its meaning depends on the engine's store: never deploy by it.
    pub id: Digest,
    /// What built it.
    pub builder: Builder,
    /// The name and version that the engine reports.
    pub engine: String,
    /// The requested labels.
    pub labels: BTreeMap<String, String>,
    /// How many files, directories and links were sent.
    pub context_files: u64,
    /// How many bytes were sent.
    pub context_bytes: u64,
}

/// Builds an image. Passes every step, and every line that a step prints, to `on_event`.
///
/// Dropping the future ends the request, and with it the build in the engine.
///
/// # Errors
///
/// If the context cannot be read, the engine does not work, a step fails, the engine is silent for too long, or the
/// time is up.
pub async fn build(
    engine: &Engine,
    keychain: &Keychain,
    config: &BuildConfig,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<BuiltImage, Error> {
    let fail = |kind| Error::new(format!("build {}", config.image), kind);
    let builder = config.builder.unwrap_or_else(|| engine.preferred_builder());
    if builder == Builder::BuildKit && !engine.has_buildkit() {
        return Err(fail(ErrorKind::NoBuildKit { version: engine.version().to_owned() }));
    }
    let work = build_with(engine, keychain, config, builder, on_event);
    match time::timeout(config.timeout, work).await {
        Ok(built) => built.map_err(fail),
        Err(_) => Err(fail(ErrorKind::Deadline { after: config.timeout })),
    }
}

async fn build_with(
    engine: &Engine,
    keychain: &Keychain,
    config: &BuildConfig,
    builder: Builder,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<BuiltImage, ErrorKind> {
    let context = BuildContext::open(&config.context, config.dockerfile.as_deref())
        .map_err(ErrorKind::Context)?;
    let time = config.epoch.map(SourceDateEpoch::time).or(config.origin.created);
    let context = context.without(&config.withheld).leaving_out(&config.left_out);
    let context = context.dated(file_time(time));
    let context = match builder {
        Builder::Classic => context,
        Builder::BuildKit => context.for_buildkit(),
    };
    on_event(EngineEvent::Started { engine: engine.version().to_owned(), builder });
    if builder == Builder::BuildKit && context.dockerfile_shows() {
        on_event(EngineEvent::Warning(format!(
            "BuildKit gets the Dockerfile with the context: `COPY .` copies it, too, as `{}`",
            context.dockerfile()
        )));
    }
    context.warnings().into_iter().map(EngineEvent::Warning).for_each(&mut *on_event);
    let bases = base_repositories(context.dockerfile_text(), &config.build_args);
    let style = match builder {
        Builder::Classic => KeyStyle::Header,
        Builder::BuildKit => KeyStyle::Session,
    };
    let credentials = for_repositories(keychain, &bases, style, on_event).await?;
    let labels = config.origin.labels(&config.labels);
    let options = options(config, &context, builder, &labels)?;

    let idle = IdleTimer::new(config.idle_timeout);
    let (transcript, sent) = run(engine, context, options, credentials, idle, on_event).await?;
    let id = transcript.image().and_then(read_id).ok_or(ErrorKind::Incomplete("image"))?;
    Ok(BuiltImage {
        image: config.image.clone(),
        id,
        builder,
        engine: engine.version().to_owned(),
        labels,
        context_files: sent.files(),
        context_bytes: sent.bytes(),
    })
}

fn options(
    config: &BuildConfig,
    context: &BuildContext,
    builder: Builder,
    labels: &BTreeMap<String, String>,
) -> Result<BuildImageOptions, ErrorKind> {
    let map = |map: &BTreeMap<String, String>| -> Option<HashMap<String, String>> {
        Some(map.clone().into_iter().collect()).filter(|map: &HashMap<_, _>| !map.is_empty())
    };
    let mut build_args = config.build_args.clone();
    // The classic builder would warn of an argument that no Dockerfile takes.
    if let (Builder::BuildKit, Some(epoch)) = (builder, config.epoch) {
        let seconds = epoch.time().as_second().to_string();
        build_args.entry(SourceDateEpoch::VARIABLE.to_owned()).or_insert(seconds);
    }
    let name = format!("{}:{}", config.image.repository, config.image.tag_or_latest());
    let (version, session) = match builder {
        Builder::Classic => (BuilderVersion::BuilderV1, None),
        Builder::BuildKit => (BuilderVersion::BuilderBuildKit, Some(session_id()?)),
    };
    Ok(BuildImageOptions {
        dockerfile: context.dockerfile().to_owned(),
        t: Some(name),
        nocache: config.no_cache,
        cachefrom: Some(config.cache_from.clone()).filter(|images| !images.is_empty()),
        pull: config.pull.then(|| "true".to_owned()),
        rm: true,
        forcerm: true,
        buildargs: map(&build_args),
        labels: map(labels),
        networkmode: config.network.clone(),
        platform: config.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        target: config.target.clone().unwrap_or_default(),
        version,
        session,
        ..BuildImageOptions::default()
    })
}

/// BuildKit finds the session of a build by its unique name.
fn session_id() -> Result<String, ErrorKind> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| ErrorKind::Failed { message: format!("no random bytes: {error}") })?;
    Ok(hex::encode(bytes))
}

/// The thread that reads the context.
struct ContextSender {
    thread: JoinHandle<Result<Vec<PathBuf>, SendError>>,
    is_done: bool,
}

impl ContextSender {
    fn start(context: BuildContext, mut writer: ArchiveWriter) -> Self {
        let thread = tokio::task::spawn_blocking(move || match context.write(&mut writer) {
            Ok(skipped) => writer.finish().map(|()| skipped).map_err(|_| SendError::Closed),
            Err(error) => {
                // The engine must not build from a part of the context.
                writer.abort("cannot read the context");
                Err(error)
            }
        });
        Self { thread, is_done: false }
    }

    /// The files that cannot be sent. A request that ended early is not an error here: the engine's answer is.
    async fn done(&mut self) -> Result<Option<Vec<PathBuf>>, ErrorKind> {
        let sent = (&mut self.thread).await;
        self.is_done = true;
        match sent {
            Ok(Ok(skipped)) => Ok(Some(skipped)),
            Ok(Err(SendError::Context(error))) => Err(ErrorKind::Context(error)),
            Ok(Err(SendError::Closed)) => Ok(None),
            Err(panic) => Err(ErrorKind::Failed { message: panic.to_string() }),
        }
    }
}

/// Sends the context and reads the whole answer.
async fn run(
    engine: &Engine,
    context: BuildContext,
    options: BuildImageOptions,
    credentials: HashMap<String, DockerCredentials>,
    mut idle: IdleTimer,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<(Transcript, Arc<ArchiveCounters>), ErrorKind> {
    let (writer, body, counters) = archive(context.time());
    let mut sender = ContextSender::start(context, writer);
    let mut transcript = Transcript::default();
    let ended = {
        let body = bollard::body_try_stream(body);
        let answer = pin!(engine.docker().build_image(options, Some(credentials), Some(body)));
        read_answer(answer, &mut transcript, &counters, &mut sender, &mut idle, on_event).await
    };
    match ended {
        Ok(()) => Ok((transcript, counters)),
        Err(AnswerError::Local(kind)) => Err(kind),
        Err(AnswerError::Engine(error)) => {
            // If the context cannot be read, that is why the request failed.
            if !sender.is_done
                && let Ok(Err(kind)) = time::timeout(ABANDON_TIME, sender.done()).await
            {
                return Err(kind);
            }
            Err(failure(engine, error, &transcript))
        }
    }
}

/// Why an answer was not read to its end.
enum AnswerError {
    /// A local reason: the context cannot be read, or the time is up.
    Local(ErrorKind),
    Engine(bollard::errors::Error),
}

async fn read_answer(
    mut answer: Pin<&mut impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>>,
    transcript: &mut Transcript,
    counters: &ArchiveCounters,
    sender: &mut ContextSender,
    idle: &mut IdleTimer,
    on_event: &mut (dyn FnMut(EngineEvent) + Send),
) -> Result<(), AnswerError> {
    let mut ticks = time::interval_at(Instant::now() + SENDING_INTERVAL, SENDING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_sending = !sender.is_done;
        tokio::select! {
            biased;
            sent = sender.done(), if is_sending => {
                idle.broken();
                if let Some(skipped) = sent.map_err(AnswerError::Local)? {
                    let (files, bytes) = (counters.files(), counters.bytes());
                    on_event(EngineEvent::Sent { files, bytes });
                    skipped.into_iter().map(EngineEvent::Skipped).for_each(&mut *on_event);
                }
            }
            message = answer.next() => match message {
                Some(Ok(message)) => {
                    idle.broken();
                    transcript.read(message).into_iter().for_each(&mut *on_event);
                }
                Some(Err(error)) => return Err(AnswerError::Engine(error)),
                None => return Ok(()),
            },
            () = idle.too_long() => {
                let step = transcript.last_step().map(str::to_owned);
                return Err(AnswerError::Local(ErrorKind::Silent { after: idle.limit(), step }));
            }
            _ = ticks.tick(), if is_sending => {
                idle.sent(counters.bytes());
                on_event(EngineEvent::Sending { files: counters.files(), bytes: counters.bytes() });
            }
        }
    }
}

fn failure(engine: &Engine, error: bollard::errors::Error, transcript: &Transcript) -> ErrorKind {
    match error {
        bollard::errors::Error::DockerStreamError { error } => transcript.failure(&error),
        // The classic builder takes the context and reads the Dockerfile before its answer begins.
        bollard::errors::Error::DockerResponseServerError {
            status_code: 400 | 500,
            ref message,
        } => match transcript.failure(message) {
            ErrorKind::Failed { .. } | ErrorKind::Step { .. } => engine.error_kind(error),
            other => other,
        },
        other => engine.error_kind(other),
    }
}
