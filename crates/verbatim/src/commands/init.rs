//! `verbatim init`.

use std::collections::BTreeSet;
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
use verbatim_argocd::{AppRef, Client, ErrorKind, Refresh, owning_set};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_http::is_loopback;
use verbatim_oci::Repository;
use verbatim_record::EnvironmentId;

use crate::config::{self, FILE_NAMES};
use crate::project::{failures, git};
use crate::scaffold::config_file::{
    FirstApp, FirstConfig, FirstEnvironment, FirstServer, FirstSet, FirstSourceSet, IMAGE,
    project_name,
};
use crate::scaffold::inspected::{InspectedApp, InspectedSource, common_image};

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
        None => project_name(git::remote(&folder).await.as_deref(), &folder),
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
    let ci = [(".gitlab-ci.yml", "gitlab"), (".travis.yml", "travis")];
    let ci = ci.iter().find(|(file, _)| folder.join(file).exists()).map_or("github", |(_, ci)| ci);
    let next = config.next_commands(folder.join(&config.key).exists(), ci);
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

/// Without a look at anything.
fn offline(args: &InitArgs) -> Result<(Repository, Vec<FirstEnvironment>), Failure> {
    let repository = args.image.clone().ok_or_else(|| Failure::usage("--offline needs --image"))?;
    let app = |app: &AppRef| FirstApp {
        name: app.name.clone(),
        namespace: app.namespace.clone(),
        sets: vec![FirstSourceSet { source: None, set: FirstSet::usual(IMAGE) }],
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
        let apps = seen.iter().map(|seen| seen.first(&repository));
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

impl InitStage {
    fn of((environment, written): (EnvironmentId, &FirstEnvironment)) -> Self {
        Self { environment, applications: written.apps.iter().map(InitApp::of).collect() }
    }
}

impl InitApp {
    fn of(app: &FirstApp) -> Self {
        let name = |it: &FirstSourceSet, name: &str| match it.source {
            Some(position) if app.sets.len() > 1 => format!("{name} of source {position}"),
            _ => name.to_owned(),
        };
        let of_source = |it: &FirstSourceSet| {
            it.set.names().into_iter().map(|value| name(it, value)).collect::<Vec<_>>()
        };
        let values = app.sets.iter().flat_map(of_source).collect();
        Self { name: app.name.clone(), values }
    }
}
