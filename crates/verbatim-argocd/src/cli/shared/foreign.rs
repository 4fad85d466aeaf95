//! Options that argocd takes for every command and that mean nothing here: taken, so that a line out of habit works, or
//! refused with what to use.

use clap::Args;
use verbatim_console::Failure;

/// Options of the argocd command line
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ForeignArgs {
    /// Ignored: all requests are plain HTTP, as with it
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    grpc_web: Option<Option<bool>>,

    /// Ignored: reads are repeated anyway
    #[arg(long, hide = true, value_name = "N")]
    http_retry_max: Option<u32>,

    /// Ignored: see --verbose
    #[arg(long, hide = true, value_name = "LEVEL")]
    loglevel: Option<String>,

    /// Ignored: see --format
    #[arg(long, hide = true, value_name = "FORMAT")]
    logformat: Option<String>,

    /// Ignored: nothing asks
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    prompts_enabled: Option<Option<bool>>,

    /// Without Argo CD's API server
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    core: Option<Option<bool>>,

    /// Through kubectl
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    port_forward: Option<Option<bool>>,

    /// Through kubectl
    #[arg(long, hide = true, value_name = "NAMESPACE")]
    port_forward_namespace: Option<String>,

    /// Another server of the argocd CLI
    #[arg(long, hide = true, value_name = "NAME")]
    argocd_context: Option<String>,
}

impl ForeignArgs {
    /// The refusal of an option that would lead somewhere else.
    pub(crate) fn refused(&self) -> Option<Failure> {
        let is_on = |flag: &Option<Option<bool>>| flag.is_some_and(|on| on.unwrap_or(true));
        let forwards = is_on(&self.port_forward) || self.port_forward_namespace.is_some();
        let (option, instead) = if is_on(&self.core) {
            ("--core", "Argo CD's API server is needed: name it with --server")
        } else if forwards {
            (
                "--port-forward",
                "run `kubectl port-forward service/argocd-server --namespace argocd 8080:80`, and name --server \
                 http://127.0.0.1:8080",
            )
        } else if self.argocd_context.is_some() {
            ("--argocd-context", "name the server with --server or ARGOCD_SERVER")
        } else {
            return None;
        };
        Some(Failure::usage(format!("{option} of argocd does not exist here")).hint(instead))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        foreign: ForeignArgs,
    }

    #[test]
    fn what_leads_elsewhere_is_refused_and_the_rest_ignored() {
        let cases = [
            ("--grpc-web --http-retry-max 3 --loglevel debug --logformat json", None),
            ("--grpc-web=false --prompts-enabled=true --core=false --port-forward=false", None),
            ("--core", Some("--server")),
            ("--port-forward", Some("kubectl port-forward")),
            ("--port-forward-namespace argocd", Some("kubectl port-forward")),
            ("--argocd-context prod", Some("ARGOCD_SERVER")),
        ];
        for (line, want) in cases {
            let parsed = Line::try_parse_from(std::iter::once("x").chain(line.split(' ')));
            let refused = parsed.unwrap_or_else(|error| panic!("{error}")).foreign.refused();
            match (&refused, want) {
                (None, None) => {}
                (Some(failure), Some(want)) => {
                    assert!(failure.hints.iter().any(|hint| hint.contains(want)), "{line}");
                    assert_eq!(failure.status.code(), 2);
                }
                _ => panic!("{line}: {}", refused.is_some()),
            }
        }
    }
}
