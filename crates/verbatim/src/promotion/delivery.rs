//! How applications are deployed: what `verbatim.yaml` says of the environment, and what the command line says of this run.
//! Also how both spell an option that a hint names.

use clap::{Args, ValueEnum};
use verbatim_argocd::Remedy;

use crate::config::{DeploySettings, Period};

/// How applications are deployed this time, beyond what `deploy` in verbatim.yaml says.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct DeliveryArgs {
    /// Delete resources that are no longer in the sources [verbatim.yaml: `deploy: { prune: true }`]
    #[arg(long)]
    prune: bool,
    /// Accept leftover resources that are no longer in the sources [verbatim.yaml: `deploy: { allow_unpruned: true }`]
    #[arg(long, conflicts_with = "prune")]
    allow_unpruned: bool,
    /// What to do when a rollout is paused, for example between canary steps [verbatim.yaml: `deploy: { on_pause: wait }`]
    #[arg(long, value_name = "WHAT", value_enum)]
    on_pause: Option<PauseArg>,
    /// End an operation of somebody else that holds the application [verbatim.yaml: `deploy: { terminate_foreign: true }`]
    #[arg(long)]
    terminate_foreign: bool,
    /// If a sync window is closed, wait so long for it to open [verbatim.yaml: `deploy: { wait_for_window: 1h }`]
    #[arg(long, value_name = "TIME")]
    wait_for_window: Option<Period>,
    /// Write even if an owner of the application may revert it [verbatim.yaml: `deploy: { trust_owner: true }`]
    #[arg(long)]
    trust_owner: bool,
    /// Write parameters that the chart does not list [verbatim.yaml: `deploy: { allow_unknown_parameters: true }`]
    #[arg(long)]
    allow_unknown_parameters: bool,
}

/// What to do when a rollout is paused. A promotion is proven whole or not at all, so it cannot end well with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PauseArg {
    /// Wait until it continues; at the deadline the promotion is unfinished
    Wait,
    /// Give up at once
    Fail,
}

/// What happens after a promotion that is not proven.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct FailureArgs {
    /// What to do when the release is not proven [verbatim.yaml: `on_failure: keep` of the environment]
    #[arg(long, value_name = "WHAT", value_enum)]
    on_failure: Option<FailureArg>,
}

/// What to do with a release that is not proven
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailureArg {
    /// Leave the applications as they are
    Keep,
    /// Put back the last promotion, and prove it; the exit status stays that of the failure
    Restore,
}

/// How long closed gates are waited for.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct WaitArgs {
    /// If gates are closed that time or people may open, wait so long for them [verbatim.yaml: `wait_for_gates: 2h` of the
    /// environment]
    #[arg(long, value_name = "TIME")]
    wait_for_gates: Option<Period>,
}

impl WaitArgs {
    /// What holds for this run.
    pub(super) fn over(self, settings: DeploySettings) -> DeploySettings {
        let wait_for_gates = self.wait_for_gates.map_or(settings.wait_for_gates, |period| period.0);
        DeploySettings { wait_for_gates, ..settings }
    }
}

impl FailureArgs {
    /// What holds for this run.
    pub(super) fn over(self, settings: DeploySettings) -> DeploySettings {
        let restore = self.on_failure.map(|it| it == FailureArg::Restore);
        let restore_on_failure = restore.unwrap_or(settings.restore_on_failure);
        DeploySettings { restore_on_failure, ..settings }
    }
}

impl DeliveryArgs {
    /// What holds for this run.
    pub(super) fn over(self, settings: DeploySettings) -> DeploySettings {
        let Self { prune, allow_unpruned, on_pause, terminate_foreign, wait_for_window, .. } = self;
        let Self { trust_owner, allow_unknown_parameters, .. } = self;
        DeploySettings {
            prune: prune || (settings.prune && !allow_unpruned),
            allow_unpruned: allow_unpruned || (settings.allow_unpruned && !prune),
            trust_owner: trust_owner || settings.trust_owner,
            allow_unknown_parameters: allow_unknown_parameters || settings.allow_unknown_parameters,
            terminate_foreign: terminate_foreign || settings.terminate_foreign,
            wait_for_window: wait_for_window.map_or(settings.wait_for_window, |period| period.0),
            wait_for_gates: settings.wait_for_gates,
            restore_on_failure: settings.restore_on_failure,
            fail_on_pause: on_pause.map_or(settings.fail_on_pause, |it| it == PauseArg::Fail),
        }
    }
}

/// How the commands that move a release to an environment spell an option, and what it is in verbatim.yaml.
pub(super) fn spelled(remedy: Remedy, environment: &str) -> Option<String> {
    let key = match remedy {
        Remedy::Source => return Some("`source` of the application in verbatim.yaml".to_owned()),
        Remedy::TakeOver => return Some(remedy.flag().to_owned()),
        Remedy::AcceptPause => return None,
        Remedy::PutBack => return Some(format!("verbatim restore {environment}")),
        Remedy::AllowUnknownParameters => "allow_unknown_parameters",
        Remedy::TrustOwner => "trust_owner",
        Remedy::Prune => "prune",
        Remedy::AllowUnpruned => "allow_unpruned",
        Remedy::TerminateForeign => "terminate_foreign",
        Remedy::WaitForWindow => {
            let key = "`deploy: { wait_for_window: 1h }` in verbatim.yaml";
            return Some(format!("{}, or {key}", remedy.flag()));
        }
    };
    Some(format!("{}, or `deploy: {{ {key}: true }}` in verbatim.yaml", remedy.flag()))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        delivery: DeliveryArgs,
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let of = |prune, allow_unpruned, fail_on_pause| DeploySettings {
            prune,
            allow_unpruned,
            fail_on_pause,
            ..DeploySettings::default()
        };
        let window = |terminate_foreign, seconds| DeploySettings {
            terminate_foreign,
            wait_for_window: std::time::Duration::from_secs(seconds),
            ..DeploySettings::default()
        };
        let cases = [
            ("", of(true, false, true), of(true, false, true)),
            ("--prune", of(false, false, false), of(true, false, false)),
            // One takes the place of the other.
            ("--prune", of(false, true, false), of(true, false, false)),
            ("--allow-unpruned", of(true, false, false), of(false, true, false)),
            ("--on-pause wait", of(false, false, true), of(false, false, false)),
            ("--on-pause fail", of(false, false, false), of(false, false, true)),
            ("--terminate-foreign", window(false, 0), window(true, 0)),
            ("", window(true, 60), window(true, 60)),
            ("--wait-for-window 30s", window(true, 60), window(true, 30)),
            ("--wait-for-window 0s", window(false, 60), window(false, 0)),
        ];
        for (line, settings, want) in cases {
            let words = ["x"].into_iter().chain(line.split_whitespace());
            let Line { delivery } = Line::try_parse_from(words).unwrap();
            assert_eq!(delivery.over(settings), want, "{line} {settings:?}");
        }
    }

    /// A hint never names a flag that the command at hand lacks.
    #[test]
    fn every_flag_that_hints_name_is_there() {
        let command = Line::command();
        let has = |flag: &str| command.get_arguments().any(|it| it.get_long() == Some(flag));
        for remedy in Remedy::ALL {
            let Some(text) = spelled(remedy, "dev") else { continue };
            let flag = text.split([',', ' ']).next().and_then(|word| word.strip_prefix("--"));
            // Each of the commands says of itself what it means to take over a claim.
            assert!(flag.is_none_or(|flag| flag == "take-over" || has(flag)), "{text}");
        }
    }
}
