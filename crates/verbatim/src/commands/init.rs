//! `verbatim init`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use futures_util::future::try_join_all;
use serde::Serialize;
use url::Url;
use verbatim_argocd::cli::ServerArgs;
use verbatim_argocd::{
    AppDetails, AppRef, Application, Client, ErrorKind, NoSuggestion, Refresh, SourceAt,
    Suggestion, owning_set, suggest,
};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_http::is_loopback;
use verbatim_oci::Repository;
use verbatim_record::EnvironmentId;

use crate::config::{self, FILE_NAMES};
use crate::project::{failures, git};
use crate::scaffold::config_file::{
    FirstApp, FirstConfig, FirstEnvironment, FirstServer, FirstSet,
};

const EXAMPLES: &str = "\
Examples:
  verbatim init dev=shop-dev staging=shop-staging production=shop-eu,shop-us

  The applications run several images; this project builds one of them:
  verbatim init dev=shop-dev --image registry.example.com/acme/shop

  Print the file only:
  verbatim init dev=shop-dev --dry-run

  Without access to Argo CD:
  verbatim init dev=shop-dev --offline --server argocd.example.com \\
    --image registry.example.com/acme/shop";

/// Write the first verbatim.yaml of a project
///
/// Asks Argo CD which image the applications run and which chart values hold it, then writes a verbatim.yaml that pins
/// this image by digest, and prints the next commands. Never overwrites a file.
///
/// verbatim recognizes chart values by the names that charts commonly use. Review the file; `verbatim promote ENV
/// --dry-run` then shows what a promotion would write.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// The stages in order, each with its applications
    #[arg(required = true, value_name = "ENV=APP[,APP…]")]
    environments: Vec<Stage>,

    /// The repository of the image [default: the image that the applications run, if it is only one]
    #[arg(long, value_name = "REPOSITORY")]
    image: Option<Repository>,

    /// The project name, part of every ledger [default: the name of the git repository or of this folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The public key of the pipeline, relative to this folder; it need not exist yet
    #[arg(long, value_name = "FILE", default_value = "keys/ci.pub")]
    public_key: PathBuf,

    /// Do not ask Argo CD; use the most common value names
    #[arg(long, requires_all = ["image", "server"])]
    offline: bool,

    /// Print the file without writing it
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// The short name of the image in the file.
const IMAGE: &str = "app";

/// `ENV=APP[,APP…]`.
#[derive(Clone, Debug)]
struct Stage {
    name: String,
    apps: Vec<AppRef>,
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, apps) = text.split_once('=').ok_or("want ENV=APP, for example dev=shop-dev")?;
        let _ = EnvironmentId::new(name, name).map_err(|error| error.to_string())?;
        let apps = apps.split(',').map(|app| {
            app.parse::<AppRef>().map_err(|error| format!("`{app}` is no application: {error}"))
        });
        Ok(Self { name: name.to_owned(), apps: apps.collect::<Result<_, _>>()? })
    }
}

#[derive(Serialize)]
struct InitResult {
    file: PathBuf,
    written: bool,
    project: String,
    repository: String,
    environments: Vec<InitStage>,
    /// What to run now.
    next: Vec<String>,
    text: String,
}

#[derive(Serialize)]
struct InitStage {
    environment: EnvironmentId,
    applications: Vec<InitApp>,
}

#[derive(Serialize)]
struct InitApp {
    name: String,
    /// The parameters and images that will be overridden.
    values: Vec<String>,
}

impl fmt::Display for InitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.written {
            return f.write_str(&self.text);
        }
        writeln!(
            f,
            "wrote {}: {} of project {}",
            self.file.display(),
            self.repository,
            self.project
        )?;
        for stage in &self.environments {
            for app in &stage.applications {
                let name = stage.environment.name();
                writeln!(f, "  {name:<12} {}: {}", app.name, app.values.join(", "))?;
            }
        }
        write!(f, "\nnext:")?;
        self.next.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Runs the command.
pub(crate) async fn run(args: InitArgs, console: &Console) -> Result<ExitStatus, Failure> {
    no_name_twice(&args.environments)?;
    let folder = std::env::current_dir()
        .map_err(|error| Failure::usage(error).context("cannot tell which folder this is"))?;
    if let Some(file) = config::find(&folder).ok().filter(|_| !args.dry_run) {
        if file.parent() == Some(&folder) {
            return Err(already_there(&file));
        }
        let file = file.display();
        console
            .warn(format!("{file} stands above: in this folder the new one is read in its place"));
    }
    let project = match &args.name {
        Some(name) => name.clone(),
        None => project_name(&folder).await,
    };
    let id = |stage: &Stage| EnvironmentId::new(&project, &stage.name);
    let ids = args.environments.iter().map(id).collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(|error| Failure::usage(error).hint("name the product with --name"))?;
    let (client, (repository, environments)) = if args.offline {
        (args.server.client_without_token(console)?, offline(&args)?)
    } else {
        let client = args.server.client(console)?;
        let asked = asked(&args, &client, console).await?;
        (client, asked)
    };
    let server = server(&args, client.server());
    let (image, key) = (IMAGE.to_owned(), args.public_key.clone());
    let config = FirstConfig { project, image, repository, server, environments, key };
    let text = config.to_string();
    if !args.server.header.is_empty() {
        console.warn(
            "not writing headers, which may be secrets: add them under `headers` of the server",
        );
    }
    let written = !args.dry_run;
    let file = PathBuf::from(FILE_NAMES[0]);
    if written {
        write(&file, &text)?;
    }
    let first = config.environments.first().map_or("", |first| first.name.as_str());
    let next = next(&config.key, first, &folder);
    let environments = ids.into_iter().zip(&config.environments).map(InitStage::of).collect();
    let repository = config.repository.to_string();
    let project = config.project;
    console.result(&InitResult { file, written, project, repository, environments, next, text })?;
    Ok(ExitStatus::Done)
}

/// An application belongs to one environment, and is in it once.
fn no_name_twice(stages: &[Stage]) -> Result<(), Failure> {
    let (mut names, mut apps) = (BTreeSet::new(), BTreeSet::new());
    if let Some(twice) = stages.iter().find(|stage| !names.insert(&stage.name)) {
        return Err(Failure::usage(format!("{} is named twice", twice.name))
            .hint("several applications of one environment: ENV=APP,APP"));
    }
    let mut all = stages.iter().flat_map(|stage| &stage.apps);
    match all.find(|app| !apps.insert(app.to_string())) {
        Some(twice) => Err(Failure::usage(format!("the application {twice} is named twice"))),
        None => Ok(()),
    }
}

fn already_there(file: &Path) -> Failure {
    Failure::usage(format!("{} already exists", file.display()))
        .hint("edit it by hand; to see what verbatim would write: --dry-run")
}

/// Never over a file that came in the meantime.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    match opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(already_there(file)),
        Err(error) => {
            Err(Failure::usage(error).context(format!("cannot write {}", file.display())))
        }
    }
}

/// The last part of where the repository comes from, else the name of the folder; made to what a name may be.
async fn project_name(folder: &Path) -> String {
    let remote = git::remote(folder).await;
    let last = remote.as_deref().and_then(|remote| remote.rsplit(['/', ':']).next());
    let name = last.map(|name| name.strip_suffix(".git").unwrap_or(name).to_owned());
    let name = name.or_else(|| Some(folder.file_name()?.to_str()?.to_owned()));
    name_of(name.as_deref().unwrap_or_default())
}

/// What is left of a text as a name.
fn name_of(text: &str) -> String {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text
        .chars()
        .map(|c| if is_inner(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(63)
        .collect();
    if name.is_empty() { "project".to_owned() } else { name }
}

/// Without a look at anything.
fn offline(args: &InitArgs) -> Result<(Repository, Vec<FirstEnvironment>), Failure> {
    let repository = args.image.clone().ok_or_else(|| Failure::usage("--offline needs --image"))?;
    let app = |app: &AppRef| FirstApp {
        name: app.name.clone(),
        namespace: app.namespace.clone(),
        source: None,
        set: FirstSet::usual(IMAGE),
    };
    let environments = args.environments.iter().map(|stage| FirstEnvironment {
        name: stage.name.clone(),
        apps: stage.apps.iter().map(app).collect(),
    });
    Ok((repository, environments.collect()))
}

fn server(args: &InitArgs, url: &Url) -> FirstServer {
    let options = &args.server;
    FirstServer {
        url: url.as_str().trim_end_matches('/').to_owned(),
        ca: options.ca.clone(),
        client_certificate: options.client_crt.clone().zip(options.client_crt_key.clone()),
        insecure: options.insecure,
        plain_http: url.scheme() == "http" && !is_loopback(url),
    }
}

/// An application, and each of its sources that could take an override.
struct InspectedApp {
    reference: AppRef,
    app: Application,
    sources: Vec<InspectedSource>,
}

struct InspectedSource {
    at: SourceAt,
    kind: String,
    details: Option<AppDetails>,
}

/// By what the applications are.
async fn asked(
    args: &InitArgs,
    client: &Client,
    console: &Console,
) -> Result<(Repository, Vec<FirstEnvironment>), Failure> {
    let progress = console.progress("looking at the applications");
    let looks = args
        .environments
        .iter()
        .map(|stage| try_join_all(stage.apps.iter().map(|app| look(client, app, console))));
    let seen: Vec<Vec<InspectedApp>> = try_join_all(looks).await.map_err(failures::argocd)?;
    drop(progress);
    let repository = match &args.image {
        Some(repository) => repository.clone(),
        None => common_image(seen.iter().flatten())?,
    };
    let mut environments = Vec::new();
    for (stage, seen) in args.environments.iter().zip(&seen) {
        let apps = seen.iter().map(|seen| first_app(seen, &repository));
        let apps = apps.collect::<Result<_, _>>()?;
        environments.push(FirstEnvironment { name: stage.name.clone(), apps });
    }
    Ok((repository, environments))
}

async fn look(
    client: &Client,
    reference: &AppRef,
    console: &Console,
) -> Result<InspectedApp, verbatim_argocd::Error> {
    let mut app = client.get(reference).await?;
    if !app.status.is_compared() {
        // What its sources are, only a comparison finds out.
        app = client.refresh(reference, Refresh::Normal).await?;
    }
    if let Some(set) = owning_set(&app) {
        console.warn(format!(
            "{reference} belongs to the ApplicationSet {set}, which reverts overrides unless configured otherwise: docs/argocd.md"
        ));
    }
    let mut sources = Vec::new();
    for (index, (at, source)) in app.spec.sources().iter().enumerate() {
        // One that only lends its files to others takes no values.
        if source.path().is_empty() && source.chart().is_empty() {
            continue;
        }
        let kind = app.status.source_type(at).to_owned();
        let details = match kind.as_str() {
            "Helm" => {
                match client.app_details(reference, &app.spec.project, source, index).await {
                    Ok(details) => Some(details),
                    // A token need not have the right to read repositories.
                    Err(error) if matches!(error.kind, ErrorKind::PermissionDenied(_)) => {
                        console.warn(format!(
                            "this token cannot read the chart values of {reference}; using only those of the application itself"
                        ));
                        None
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        sources.push(InspectedSource { at, kind, details });
    }
    Ok(InspectedApp { reference: reference.clone(), app, sources })
}

/// The one image that all applications have.
fn common_image<'a>(all: impl Iterator<Item = &'a InspectedApp>) -> Result<Repository, Failure> {
    let mut found: BTreeMap<Repository, Vec<String>> = BTreeMap::new();
    let mut several = None;
    for seen in all {
        match seen.suggestions(None) {
            Ok(suggestions) => {
                for (_, suggestion) in suggestions {
                    found
                        .entry(suggestion.repository)
                        .or_default()
                        .push(seen.reference.to_string());
                }
            }
            // Another application may tell which of them it is.
            Err(why @ NoSuggestion::Several(_)) => several = Some((seen, why)),
            Err(why) => return Err(seen.failure(why)),
        }
    }
    let count = found.len();
    match (count, found.pop_first(), several) {
        (1, Some((only, _)), _) => Ok(only),
        (0, _, Some((seen, why))) => Err(seen.failure(why)),
        (_, first, _) => {
            let all = first.into_iter().chain(found);
            let all: Vec<String> = all
                .map(|(repository, apps)| format!("{repository} ({})", apps.join(", ")))
                .collect();
            Err(Failure::usage(format!("the applications have several images: {}", all.join("; ")))
                .hint("name the image that this project builds: --image REPOSITORY"))
        }
    }
}

impl InspectedApp {
    /// What each source suggests, if any does.
    fn suggestions(
        &self,
        image: Option<&Repository>,
    ) -> Result<Vec<(&InspectedSource, Suggestion)>, NoSuggestion> {
        let (mut found, mut none) = (Vec::new(), NoSuggestion::Nothing(Vec::new()));
        for source in &self.sources {
            let Some(written) = self.app.spec.sources().get(source.at) else { continue };
            match suggest(&self.app, written, &source.kind, source.details.as_ref(), image) {
                Ok(suggestion) => found.push((source, suggestion)),
                Err(why) => none = why,
            }
        }
        if found.is_empty() { Err(none) } else { Ok(found) }
    }

    fn is_kustomize(&self) -> bool {
        self.sources.iter().all(|source| source.kind == "Kustomize")
    }

    fn failure(&self, why: NoSuggestion) -> Failure {
        let app = &self.reference;
        let offline =
            "write the file with --offline, and put the right names under `set`".to_owned();
        let hints = match &why {
            NoSuggestion::Kind(kind) if kind.is_empty() => vec![format!(
                "Argo CD does not know its type; to see why: verbatim argocd get {app}"
            )],
            NoSuggestion::Kind(_) => vec![
                "plain manifests have no parameters: put a kustomization.yaml next to them".into(),
            ],
            NoSuggestion::Several(_) => {
                vec!["name the image that this project builds: --image REPOSITORY".into()]
            }
            NoSuggestion::Other { .. } => vec![
                "name one that it has with --image, then write the new `repository` into the file"
                    .into(),
            ],
            NoSuggestion::Nothing(_) if self.is_kustomize() => vec![format!(
                "sync it once, so that its image is known: verbatim argocd sync {app}"
            )],
            NoSuggestion::Nothing(_) => {
                vec![
                    format!("to see all parameters: verbatim argocd get {app} --show-params"),
                    offline,
                ]
            }
        };
        let said = format!("cannot find the values of {app} that hold the image");
        let failure = Failure::new(ExitStatus::No, why).context(said);
        hints.into_iter().fold(failure, |failure: Failure, hint: String| failure.hint(hint))
    }
}

/// An application with what is to be written into it.
fn first_app(seen: &InspectedApp, repository: &Repository) -> Result<FirstApp, Failure> {
    let suggestions = seen.suggestions(Some(repository)).map_err(|why| seen.failure(why))?;
    let [(source, suggestion)] = &suggestions[..] else {
        let sources = suggestions.len();
        return Err(Failure::new(
            ExitStatus::No,
            format!("{sources} sources of {} could hold the image", seen.reference),
        )
        .hint("write the file with --offline, and name the `source` of this application"));
    };
    let is_alone = seen.sources.iter().filter(|other| other.kind == source.kind).count() == 1;
    let position = match source.at {
        SourceAt::Index(index) if !is_alone => Some(index + 1),
        _ => None,
    };
    Ok(FirstApp {
        name: seen.reference.name.clone(),
        namespace: seen.reference.namespace.clone(),
        source: position,
        set: FirstSet::of(suggestion, IMAGE),
    })
}

impl InitStage {
    fn of((environment, written): (EnvironmentId, &FirstEnvironment)) -> Self {
        Self { environment, applications: written.apps.iter().map(InitApp::of).collect() }
    }
}

impl InitApp {
    fn of(app: &FirstApp) -> Self {
        let values = app.set.names().into_iter().map(str::to_owned).collect();
        Self { name: app.name.clone(), values }
    }
}

/// The commands that come next.
fn next(key: &Path, first: &str, folder: &Path) -> Vec<String> {
    let private = key.with_extension("");
    let make = (!folder.join(key).exists()).then(|| {
        let pem = private.with_extension("pem");
        // The key would get into the repository, and with `COPY . .` into the image.
        [
            format!("verbatim key generate {}", private.display()),
            format!("echo '{}' | tee -a .gitignore >> .dockerignore", pem.display()),
            format!("export VERBATIM_KEY_FILE={}", pem.display()),
        ]
    });
    let pipeline = if folder.join(".gitlab-ci.yml").exists() {
        "verbatim ci gitlab"
    } else if folder.join(".travis.yml").exists() {
        "verbatim ci travis"
    } else {
        "verbatim ci github"
    };
    let rest = [
        "verbatim doctor".to_owned(),
        "git add . && git commit -m 'Promote with verbatim'".to_owned(),
        format!("verbatim build && verbatim promote {first}"),
        pipeline.to_owned(),
    ];
    make.into_iter().flatten().chain(rest).collect()
}
