//! `cargo xtask pipeline`: a newcomer runs one command and sees a release travel, on services that really run.
//!
//! The story is in [`story`], its stage in [`world`], the application in [`project`]. Everything that is started ends
//! with this task, on failure and on Ctrl-C too. Nothing of the product is here: it runs as a child process.

mod assemble;
mod door;
mod narrate;
mod processes;
mod project;
mod story;
mod tool;
mod world;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args as ClapArgs;

use rig::engine::{self, Guard, children};

use self::narrate::Narrator;
use self::project::{Fault, Project};
use self::story::Story;
use self::tool::Tool;
use self::world::{APPROVER_KEY, KEY, World};

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask pipeline                               # on the simulated Argo CD, in under a minute
  cargo xtask pipeline --real                        # on a real one; the first time it is built, in some eight minutes
  cargo xtask pipeline --demo-fault wrong-answer     # a broken build, and where it is stopped
  cargo xtask pipeline --keep                        # leaves everything running until Ctrl-C, to play with
  cargo xtask pipeline --config verbatim.yaml --to dev   # your own project, on your own services")]
pub struct Args {
    /// Run on a real Argo CD with a real Kubernetes API server (see `cargo xtask rig`)
    #[arg(long)]
    real: bool,
    /// Break the build on purpose, and see where the pipeline stops
    #[arg(long, value_enum, value_name = "FAULT")]
    demo_fault: Option<Fault>,
    /// Do as if no Docker Engine could be had
    #[arg(long, conflicts_with = "real")]
    no_engine: bool,
    /// When the story is told, leave everything running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Run this binary, and not one that is built from this workspace
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Run the stages of this verbatim.yaml on the services it names, in place of the demo
    #[arg(long, value_name = "FILE", conflicts_with_all = ["real", "demo_fault", "no_engine", "keep"])]
    config: Option<PathBuf>,
    /// With --config: the last environment to promote to
    #[arg(long, value_name = "ENVIRONMENT", requires = "config")]
    to: Option<String>,
}

/// Runs the task.
pub fn run(args: Args) -> Result<()> {
    children::catch_signals()?;
    let narrator = Narrator::new();
    let start = Instant::now();
    if let Some(config) = &args.config {
        return run_own(narrator, &binary(&args)?, config, args.to.as_deref());
    }
    // reqwest and the servers in this process may each bring a provider of TLS; the first one wins, and it is this.
    let _ = rustls::crypto::ring::default_provider().install_default();

    narrator.heading("verbatim: the image that was tested is the image that runs");
    narrator.say(
        "A small web application is built once and carried by its digest through dev, staging and production. \
         Everything runs on this machine, on 127.0.0.1, and ends with this demo.",
    );
    println!();
    let binary = binary(&args)?;
    let folder = tempfile::Builder::new()
        .prefix("verbatim-demo-")
        .tempdir()
        .context("failed to create a folder")?;
    needs::install(&[needs::Program::Git])?;
    let state = folder.path().join("engine");
    let engine = engine(narrator, (!args.no_engine).then_some(state.as_path()))?;
    let root = folder.path().join("demo");
    let project = Project::create(&root)?;
    let world = World::start(folder.path(), engine, args.real)?;
    narrator.fact("registry", &world.registry());
    narrator.fact("Argo CD", &world.about_argocd());

    let tool = Tool::new(narrator, &binary, &root, variables(&world));
    project.configure(&world.addresses(), args.demo_fault)?;
    make_keys(&tool, world.folder(), &root.join("keys"))?;
    let commit = project.commit("Add the demo")?;
    world.install(&project)?;
    narrator.fact("project", &format!("{} at {}", root.display(), &commit[..12]));

    let story = Story { narrator, world: &world, project: &project, tool: &tool, commit };
    story.tell(args.demo_fault)?;
    world.nothing_unexpected()?;
    if args.keep {
        keep(narrator, &tool, &binary, &root, &world.addresses().argocd);
    }
    narrator.heading("The end");
    narrator.say("Everything that was started is ended now, and the folder is gone.");
    drop(world);
    narrator.good(&format!("done in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Writes the demo with its built programs into `folder`: a context to build its image from. For other tasks.
pub fn demo_context(folder: &Path) -> Result<()> {
    Project::create(folder).map(drop)
}

/// Makes the keys in a folder outside the repository: the private half would be a secret of the CI, or of a person. The
/// public half goes into the repository.
fn make_keys(tool: &Tool, outside: &Path, keys: &Path) -> Result<()> {
    std::fs::create_dir_all(keys).context("failed to make the folder of the keys")?;
    for file in [KEY, APPROVER_KEY] {
        let key = outside.join(file.trim_end_matches(".pem"));
        tool.output(&["key", "generate", "--quiet", &key.to_string_lossy()])?;
        let public = key.with_extension("pub");
        let name = public.file_name().context("a key without a name")?;
        std::fs::rename(&public, keys.join(name)).context("failed to move the key")?;
    }
    Ok(())
}

fn binary(args: &Args) -> Result<PathBuf> {
    match &args.binary {
        Some(file) => {
            file.canonicalize().with_context(|| format!("there is no {}", file.display()))
        }
        None => tool::build(),
    }
}

/// What a CI job would have as secrets and settings.
fn variables(world: &World) -> Vec<(String, String)> {
    let home = world.folder().to_string_lossy().into_owned();
    let key = world.folder().join(KEY).to_string_lossy().into_owned();
    let engine = world.docker_host().map(|host| ("DOCKER_HOST", host.to_owned()));
    let others = [("ARGOCD_AUTH_TOKEN", world.token()), ("VERBATIM_KEY_FILE", key), ("HOME", home)];
    engine.into_iter().chain(others).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An engine, or None with an explanation where none can be had.
fn engine(narrator: Narrator, state: Option<&Path>) -> Result<Option<Guard>> {
    let found = match state {
        Some(state) => engine::ensure(state),
        None => {
            Err(engine::Unavailable { reasons: vec!["--no-engine was given".to_owned()] }.into())
        }
    };
    match found {
        Ok(engine) => {
            let kind =
                if engine.owned { "a private one, for this demo alone" } else { "found running" };
            narrator.fact("engine", &format!("Docker Engine {} ({kind})", engine.version));
            Ok(Some(engine.until_dropped()))
        }
        Err(error) => {
            let unavailable = error.downcast::<engine::Unavailable>()?;
            println!("{unavailable}\n");
            narrator.say(
                "So the image is assembled without an engine and pushed as it is, and each pod is an ordinary process: \
                 its program is pulled by the digest in the pod and run. What this does not show: a build by an engine, \
                 containers, and what a kubelet reports of them.",
            );
            println!();
            Ok(None)
        }
    }
}

/// Waits for Ctrl-C, and tells how to play meanwhile.
fn keep(narrator: Narrator, tool: &Tool, binary: &Path, root: &Path, argocd: &str) {
    narrator.heading("Your turn");
    narrator.say(
        "Everything keeps running until Ctrl-C. In another terminal, which is best closed afterwards: HOME becomes the \
         folder of the demo, so that none of your own logins is used.",
    );
    println!("\n  cd {}", root.display());
    for line in tool.exports() {
        println!("  {line}");
    }
    // For `verbatim argocd`; the commands that move a release read it from their configuration.
    println!("  export ARGOCD_SERVER={argocd}");
    println!("  alias verbatim={}", binary.display());
    println!("  verbatim status");
    while !children::interrupted() {
        thread::sleep(Duration::from_millis(100));
    }
}

/// The user's own project, on the services that its configuration names; nothing is started.
fn run_own(narrator: Narrator, binary: &Path, config: &Path, to: Option<&str>) -> Result<()> {
    let config =
        config.canonicalize().with_context(|| format!("there is no {}", config.display()))?;
    let root = config.parent().unwrap_or(Path::new("/")).to_owned();
    let file = config.to_string_lossy().into_owned();
    narrator.heading("Your own pipeline");
    narrator.say(
        "Nothing is started here: the stages run on the services that the configuration names.",
    );
    // Here the variables of this shell are the ones that count.
    let tool = Tool::new(narrator, binary, &root, std::env::vars().collect());
    let mut arguments = vec!["run", "--config", &file];
    if let Some(to) = to {
        arguments.extend(["--to", to]);
    }
    tool.run(&arguments, 0)?;
    narrator.heading("What runs where");
    tool.run(&["status", "--config", &file], 0)?;
    narrator.heading("The chain of custody");
    tool.run(&["verify", "--config", &file], 0)
}
