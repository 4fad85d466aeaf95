//! `cargo xtask rig`: a real Argo CD and a real Kubernetes API server on loopback, without containers.
//!
//! The parts are ordinary processes that stay when the command ends. What they are made of: [`components`]; how they
//! come up: [`up`]; how they are found and ended again: [`state`], [`process`] and [`down`].

mod argocd;
mod components;
mod description;
mod down;
pub mod engine;
mod git;
mod kube;
pub mod lease;
mod memory;
mod objects;
mod process;
mod reset;
mod sso;
mod state;
mod status;
pub mod tools;
mod up;
mod wait;

use std::{
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use identity_provider::IdentityProvider;
use serde::Serialize;

pub use self::description::{Argocd, Git, Identity, Kubernetes, Nodes, Rig};
use self::{
    state::{Home, Options},
    tools::Tool,
};

/// The arguments of this task.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask rig up                          # start it, or find it running, and print how to reach it
  eval \"$(cargo xtask rig env)\"               # for argocd, kubectl, docker and verbatim in this shell
  cargo xtask rig env --account bot           # the same with a token that may get, update and sync only
  cargo xtask rig up --name b --kwok 5        # a second one; its pods are only said to run
  cargo xtask rig down --all")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a rig, or find it running, and print how to reach it
    ///
    /// The first start on a machine builds the programs (about eight minutes on two cores); later ones take some ten
    /// seconds. etcd, redis and git come from Debian packages.
    Up(UpArgs),
    /// End everything that `up` started, containers included
    Down(DownArgs),
    /// Show what runs, with its memory
    ///
    /// Exits with 1 unless every rig that was asked for runs.
    Status(StatusArgs),
    /// Bring a running rig back to the state right after `up`
    ///
    /// Applications, projects, repositories, namespaces and what runs in them go away, and git has the fixtures alone
    /// again. Addresses, tokens and processes stay.
    Reset(NameArgs),
    /// Print the environment of a running rig as shell commands
    Env(EnvArgs),
    /// Print the paths of tools, building what is missing
    Tools(ToolsArgs),
    /// Print the folder with test data of other implementations
    ///
    /// Go downloads it. Beside it is a program that tells what they think of a text.
    Vectors,
    #[command(hide = true)]
    ServeGit(ServeGitArgs),
    #[command(hide = true)]
    Identity(IdentityArgs),
    #[command(hide = true)]
    NodeAgent(node_agent::Args),
}

#[derive(Debug, ClapArgs)]
struct NameArgs {
    /// The rig's name: several may run side by side
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Debug, ClapArgs)]
struct FormatArgs {
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, ClapArgs)]
struct UpArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// The Docker Engine that runs the pods; must share this machine's network
    ///
    /// Without it: the engine that answers, or as root on Debian a private one that ends with the rig.
    #[arg(long, value_name = "URL", conflicts_with = "kwok")]
    docker_host: Option<String>,
    /// So many Nodes of kwok in the node agent's place: pods are ready at once and nothing runs
    #[arg(long, value_name = "NODES", num_args = 0..=1, default_missing_value = "1")]
    kwok: Option<u32>,
    /// Keep Argo CD's own limit of 50 requests a second to Kubernetes: for measuring
    #[arg(long)]
    default_limits: bool,
}

#[derive(Debug, ClapArgs)]
struct DownArgs {
    #[command(flatten)]
    name: NameArgs,
    /// End all rigs
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

#[derive(Debug, ClapArgs)]
struct StatusArgs {
    /// The rig's name; without it all rigs
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, ClapArgs)]
struct EnvArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Whose token ARGOCD_AUTH_TOKEN is
    #[arg(long, value_enum, default_value_t = Account::Admin)]
    account: Account,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Account {
    /// May do everything
    Admin,
    /// May get, update and sync applications
    Bot,
    /// May get applications
    Reader,
}

#[derive(Debug, ClapArgs)]
struct ToolsArgs {
    /// The tools; without any all of them
    #[arg(value_enum)]
    tools: Vec<Tool>,
}

#[derive(Debug, ClapArgs)]
struct ServeGitArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    root: PathBuf,
}

#[derive(Debug, ClapArgs)]
struct IdentityArgs {
    #[arg(long)]
    listen: SocketAddr,
}

/// Runs the task.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match args.command {
            Command::Up(args) => run_up(args).await,
            Command::Down(args) => run_down(args).await,
            Command::Status(args) => run_status(args),
            Command::Reset(args) => run_reset(args).await,
            Command::Env(args) => run_env(args),
            Command::Tools(args) => run_tools(args),
            Command::Vectors => {
                println!("{}", tools::vectors()?.display());
                Ok(())
            }
            Command::ServeGit(args) => git::serve(args.root, args.listen).await,
            Command::Identity(args) => {
                let _provider = IdentityProvider::start(args.listen).await?;
                // It serves until this process is ended.
                std::future::pending().await
            }
            Command::NodeAgent(args) => node_agent::run(args).await,
        }
    })
}

async fn run_up(args: UpArgs) -> anyhow::Result<()> {
    let home = Home::open(&args.name.name)?;
    let options = Options {
        default_limits: args.default_limits,
        kwok_nodes: args.kwok,
        docker_host: args.docker_host,
    };
    let up = up::up(&home, options).await?;
    if up.already {
        eprintln!("rig `{}` runs already", home.name);
    }
    print(&args.format, &Summary(&up.rig), &up.rig)
}

async fn run_down(args: DownArgs) -> anyhow::Result<()> {
    let names = if args.all { Home::names()? } else { vec![args.name.name] };
    if names.is_empty() {
        eprintln!("no rig runs");
    }
    for name in names {
        let ended = down::down(&Home::open(&name)?).await?;
        eprintln!("rig `{name}` {}", if ended { "ended" } else { "was not running" });
    }
    Ok(())
}

fn run_status(args: StatusArgs) -> anyhow::Result<()> {
    let names = match args.name {
        Some(name) => vec![name],
        None => Home::names()?,
    };
    let status = status::status(&names)?;
    print(&args.format, &status, &status)?;
    if !status.all_run() {
        bail!("not every rig that was asked for runs");
    }
    Ok(())
}

async fn run_reset(args: NameArgs) -> anyhow::Result<()> {
    let home = Home::open(&args.name)?;
    reset::reset(&home).await?;
    eprintln!("rig `{}` is as it was right after its start", home.name);
    Ok(())
}

fn run_env(args: EnvArgs) -> anyhow::Result<()> {
    let rig = running(&args.name.name)?;
    let token = match args.account {
        Account::Admin => &rig.argocd.tokens.admin,
        Account::Bot => &rig.argocd.tokens.bot,
        Account::Reader => &rig.argocd.tokens.reader,
    };
    let mut env = rig.env.clone();
    env.insert("ARGOCD_AUTH_TOKEN".to_owned(), token.clone());
    for (name, value) in env {
        println!("export {name}={}", quoted(&value));
    }
    Ok(())
}

fn run_tools(args: ToolsArgs) -> anyhow::Result<()> {
    let list = if args.tools.is_empty() { Tool::value_variants().to_vec() } else { args.tools };
    let built = tools::ensure_built(&list)?;
    for tool in list {
        println!("{}", built.path(tool)?.display());
    }
    Ok(())
}

/// The description of a running rig.
pub fn running(name: &str) -> anyhow::Result<Rig> {
    let home = Home::open(name)?;
    match home.state()? {
        Some(state) if down::runs(&state) => Rig::read(&home.description()),
        _ => bail!("rig `{name}` does not run; start it with: cargo xtask rig up --name {name}"),
    }
}

fn print(
    format: &FormatArgs,
    human: &impl fmt::Display,
    data: &impl Serialize,
) -> anyhow::Result<()> {
    let text = match format.format {
        Format::Human => human.to_string(),
        Format::Json => serde_json::to_string_pretty(data)? + "\n",
    };
    match io::stdout().write_all(text.as_bytes()) {
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the result"),
    }
}

/// A running rig, for people.
struct Summary<'a>(&'a Rig);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rig = self.0;
        writeln!(f, "Argo CD     {} ({})", rig.argocd.url, rig.argocd.version)?;
        writeln!(f, "  user      {}", rig.argocd.username)?;
        writeln!(f, "  password  {}", rig.argocd.password)?;
        writeln!(f, "  client    {}", rig.argocd.cli.display())?;
        writeln!(f, "  jobs of    {} (a CI, made up)", rig.identity.url)?;
        writeln!(f, "Kubernetes  {}", rig.kubernetes.url)?;
        writeln!(f, "  config    {}", rig.kubernetes.kubeconfig.display())?;
        writeln!(f, "git         {} (read and push)", rig.git.url)?;
        match &rig.nodes {
            Nodes::Agent { url, docker_host, .. } => {
                writeln!(f, "pods        containers of {docker_host}")?;
                writeln!(f, "  agent     {url} (its services: {url}/services)")?;
            }
            Nodes::Kwok { nodes } => {
                writeln!(f, "pods        only said to run, on {nodes} Nodes of kwok")?
            }
        }
        writeln!(f, "logs        {}", rig.logs.display())?;
        writeln!(f, "\nFor the tools, in this shell:")?;
        for (name, value) in &rig.env {
            writeln!(f, "  export {name}={}", quoted(value))?;
        }
        Ok(())
    }
}

/// A word for a POSIX shell.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (value, want) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("--plaintext", "--plaintext"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quoted(value), want);
        }
    }
}
