//! `fault-proxy`: the fault proxy as a process, for shells and benches.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use fault_proxy::{FaultProxy, Rule, Upstream};
use tokio::signal::unix::{SignalKind, signal};

/// Forward HTTP/1.1 to a service and break chosen requests
///
/// Prints one JSON line with the address, and after Ctrl-C or SIGTERM one line with every request that passed.
#[derive(Debug, Parser)]
struct Cli {
    /// Where to forward to: http://HOST:PORT, tcp://HOST:PORT or unix:///PATH
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A rule as JSON, such as '{"fault":"reset","path":"/manifests/","index":1}' (repeatable)
    #[arg(long = "rule", value_name = "JSON")]
    rules: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let proxy = FaultProxy::start_at(cli.listen, Upstream::parse(&cli.upstream)?).await?;
    for text in &cli.rules {
        let rule: Rule =
            serde_json::from_str(text).with_context(|| format!("cannot read the rule {text}"))?;
        proxy.inject(rule);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::json!({ "url": proxy.url() }))?;
    out.flush()?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    writeln!(out, "{}", serde_json::to_string(&proxy.seen())?)?;
    Ok(())
}
