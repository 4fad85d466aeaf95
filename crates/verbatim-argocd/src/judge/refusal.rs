//! Reasons not to write. Each tells what was seen and what to do about it. Pure.

use std::fmt;

use serde::Serialize;

use crate::model::SKIP_RECONCILE;
use crate::overrides::claim::MAX_ANNOTATIONS;
use crate::overrides::values::bare_digest;

/// An option by which a deployment goes on. How it is spelled, the command knows that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Which source is meant.
    Source,
    /// Write parameters that the chart does not list.
    AllowUnknownParameters,
    /// Write although an owner may revert it.
    TrustOwner,
    /// Continue over the claim of another run.
    TakeOver,
    /// Delete resources that are no longer in the sources.
    Prune,
    /// Accept resources that are no longer in the sources.
    AllowUnpruned,
    /// Succeed with the part of a paused rollout that runs.
    AcceptPause,
    /// End the operation of somebody else that holds the application.
    TerminateForeign,
    /// Wait until a sync window lets the deployment begin.
    WaitForWindow,
    /// Put the previous values back. Not a flag, but a command.
    PutBack,
}

impl Remedy {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Source,
        Self::AllowUnknownParameters,
        Self::TrustOwner,
        Self::TakeOver,
        Self::Prune,
        Self::AllowUnpruned,
        Self::AcceptPause,
        Self::TerminateForeign,
        Self::WaitForWindow,
        Self::PutBack,
    ];

    /// The flag of the tool's own commands, or the command.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Source => "--source-position, or --source-name",
            Self::AllowUnknownParameters => "--allow-unknown-parameters",
            Self::TrustOwner => "--trust-owner",
            Self::TakeOver => "--take-over",
            Self::Prune => "--prune",
            Self::AllowUnpruned => "--allow-unpruned",
            Self::AcceptPause => "--on-pause accept",
            Self::TerminateForeign => "--terminate-foreign",
            Self::WaitForWindow => "--wait-for-window 1h",
            Self::PutBack => "verbatim argocd override --undo",
        }
    }
}

/// One reason not to write.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WriteRefusal {
    /// The application is being deleted.
    BeingDeleted,
    /// An annotation keeps Argo CD's controller away from the application, so nothing would be deployed.
    NotReconciled,
    /// No source is at that place, or has that name.
    NoSuchSource {
        /// What was asked for.
        wanted: String,
        /// What there is.
        sources: Vec<String>,
    },
    /// Several sources can take the override.
    WhichSource {
        /// The candidates.
        sources: Vec<String>,
    },
    /// No source can take the override.
    NoSourceFits {
        /// The kinds of source that its values are for.
        kinds: Vec<String>,
        /// What there is.
        sources: Vec<String>,
    },
    /// One value of one source is given twice.
    GivenTwice {
        /// Which.
        key: String,
    },
    /// The kind of source has no such override.
    UnsupportedSource {
        /// `Directory`, `Plugin`, `Hydrator`, or a kind that does not fit the values.
        kind: String,
        /// What to do.
        advice: String,
    },
    /// A parameter is listed twice in the application.
    Repeated {
        /// Which.
        key: String,
    },
    /// The chart has no such parameter.
    MissingParameter {
        /// Which.
        name: String,
        /// The nearest that it has.
        similar: Option<String>,
    },
    /// An owner will revert the override.
    Owned {
        /// `ApplicationSet` or `Application`.
        kind: String,
        /// Its name.
        name: String,
        /// Whether it is known that it reverts, or only not known that it does not.
        known: bool,
        /// What must be merged into an ApplicationSet to exempt the values and the claim, as YAML.
        #[serde(skip_serializing_if = "String::is_empty")]
        exemption: String,
    },
    /// A sync window forbids syncing now.
    SyncWindow {
        /// The windows in force.
        windows: Vec<String>,
    },
    /// The token may not do it.
    MayNot {
        /// `update` or `sync`.
        action: String,
    },
    /// The application is changed through the Kubernetes API, and that does not let us.
    MayNotPatch,
    /// Another run is at work.
    Claimed {
        /// Its release.
        release: String,
        /// Who.
        by: Option<String>,
        /// Until when.
        deadline: String,
    },
    /// A claim that cannot be read.
    UnreadableClaim {
        /// Where it is.
        annotation: String,
    },
    /// The claim keeps old and new values, and Kubernetes would not store that much.
    ClaimTooLarge {
        /// What the annotations of the application would take, in bytes.
        bytes: usize,
    },
    /// The values of the plan are no longer the ones that stand there.
    PlanOutdated {
        /// Which values, and how they differ.
        differences: Vec<String>,
    },
    /// With the override, Kubernetes would refuse an object for its labels.
    InvalidLabels {
        /// Which labels, and their values.
        labels: Vec<String>,
    },
    /// With the override, the rendered manifests still do not show the digest.
    NotRendered {
        /// What is wrong, image by image.
        problems: Vec<String>,
    },
}

impl WriteRefusal {
    /// The option that is the remedy, and when it is the right one.
    pub fn remedy(&self) -> Option<(&'static str, Remedy)> {
        Some(match self {
            Self::NoSuchSource { .. } | Self::WhichSource { .. } => ("to name one", Remedy::Source),
            Self::MissingParameter { .. } => {
                ("if the chart reads this one", Remedy::AllowUnknownParameters)
            }
            Self::Owned { known: false, .. } => {
                ("if it is exempt already and the token cannot see that", Remedy::TrustOwner)
            }
            Self::Claimed { .. } => ("if that run died", Remedy::TakeOver),
            Self::UnreadableClaim { .. } => ("to replace it", Remedy::TakeOver),
            Self::SyncWindow { .. } => ("if one opens soon, to wait for it", Remedy::WaitForWindow),
            _ => return None,
        })
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::BeingDeleted | Self::PlanOutdated { .. } => return None,
            Self::NotReconciled => format!("remove the annotation {SKIP_RECONCILE} from the application"),
            Self::NoSuchSource { sources, .. } | Self::NoSourceFits { sources, .. } => {
                format!("its sources: {}", sources.join("; "))
            }
            Self::WhichSource { sources } => format!(
                "these take them: {}; to write into several, name the source of each value",
                sources.join("; ")
            ),
            Self::GivenTwice { .. } => "leave out one of the two".to_owned(),
            Self::UnsupportedSource { advice, .. } => advice.clone(),
            Self::Repeated { key } => format!("remove all but one {key} from the application"),
            Self::MissingParameter { similar: Some(similar), .. } => {
                format!("did you mean {similar}?")
            }
            Self::MissingParameter { .. } => "check its name in the values of the chart".to_owned(),
            Self::Owned { kind, name, exemption, .. } if kind == "ApplicationSet" => {
                format!("merge into ApplicationSet {name}: `{exemption}`")
            }
            Self::Owned { name, .. } => format!(
                "leave the parameters out of the manifest that application {name} has in git, or let it ignore that \
                 difference (ignoreDifferences with RespectIgnoreDifferences=true)"
            ),
            Self::SyncWindow { .. } => {
                "wait until syncing is allowed, or let the windows allow manual syncs".to_owned()
            }
            Self::MayNot { action } => {
                format!(
                    "give the token `{action}` on the application (it needs get, update and sync)"
                )
            }
            Self::MayNotPatch => {
                "give the user of the kubeconfig `get` and `patch` on applications.argoproj.io".to_owned()
            }
            Self::Claimed { .. } => {
                "wait for that run; if it died, wait for its deadline".to_owned()
            }
            Self::ClaimTooLarge { .. } => {
                "write single parameters in the place of whole documents, or take large annotations away".to_owned()
            }
            Self::UnreadableClaim { annotation } => {
                format!("check the annotation {annotation}")
            }
            Self::InvalidLabels { .. } => {
                "the chart makes a label from the value: write the digest into a value of its own, such as \
                 `image.digest: ${digest}` beside `image.tag: ${tag}`, if the chart has one"
                    .to_owned()
            }
            Self::NotRendered { problems } if problems.iter().any(|it| it.contains("sha256:sha256:")) => {
                "the chart writes `sha256:` itself: write the 64 hexadecimal digits alone, in verbatim.yaml `${hex}` in \
                 the place of `${digest}`"
                    .to_owned()
            }
            Self::NotRendered { problems } if problems.iter().any(|it| lacks_algorithm(it)) => {
                "the chart does not write `sha256:` itself: write the whole digest, in verbatim.yaml `${digest}` in the \
                 place of `${hex}`"
                    .to_owned()
            }
            Self::NotRendered { .. } => {
                "the name of a parameter may be wrong, the chart may not use it, or a \
                 .argocd-source file in git may override the application"
                    .to_owned()
            }
        })
    }
}

/// Whether a text has an image with the digits of a digest and without its algorithm: `web@2d71…`.
fn lacks_algorithm(text: &str) -> bool {
    let is_hex = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        bare_digest(&rest[..end]).is_some()
    };
    text.match_indices('@').any(|(at, _)| is_hex(&text[at + 1..]))
}

impl fmt::Display for WriteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeingDeleted => f.write_str("the application is being deleted"),
            Self::NotReconciled => write!(
                f,
                "Argo CD neither compares nor syncs the application: its annotation {SKIP_RECONCILE} says so"
            ),
            Self::NoSuchSource { wanted, .. } => {
                write!(f, "the application has no source {wanted}")
            }
            Self::NoSourceFits { kinds, .. } => write!(
                f,
                "no source of the application can take values for {}",
                kinds.join(" and ")
            ),
            Self::GivenTwice { key } => write!(f, "{key} is given two values"),
            Self::WhichSource { .. } => {
                f.write_str("several sources of the application can take these values")
            }
            Self::UnsupportedSource { kind, .. } => {
                write!(f, "a {kind} source has no such values to override")
            }
            Self::Repeated { key } => write!(f, "{key} appears more than once in the application"),
            Self::MissingParameter { name, .. } => write!(f, "the chart has no parameter {name}"),
            Self::Owned { kind, name, known: true, .. } => {
                write!(f, "{kind} {name} owns the application and would revert the override")
            }
            Self::Owned { kind, name, known: false, .. } => {
                write!(
                    f,
                    "{kind} {name} owns the application, and the token cannot see whether it would revert the override"
                )
            }
            Self::SyncWindow { windows } if windows.is_empty() => {
                f.write_str("a sync window forbids syncing now")
            }
            Self::SyncWindow { windows } => {
                write!(f, "a sync window forbids syncing now: {}", windows.join("; "))
            }
            Self::MayNot { action } => write!(f, "the token may not {action} the application"),
            Self::MayNotPatch => f.write_str("the kubeconfig may not patch the application"),
            Self::Claimed { release, by, deadline } => {
                write!(f, "another run writes release {release} until {deadline}")?;
                by.as_ref().map_or(Ok(()), |by| write!(f, " ({by})"))
            }
            Self::UnreadableClaim { .. } => {
                f.write_str("this version cannot read the claim on the application")
            }
            Self::ClaimTooLarge { bytes } => write!(
                f,
                "the annotations of the application would take {bytes} bytes with the old and the new values, and {MAX_ANNOTATIONS} are allowed"
            ),
            Self::PlanOutdated { differences } => {
                write!(
                    f,
                    "the application changed since the plan was made: {}",
                    differences.join("; ")
                )
            }
            Self::InvalidLabels { labels } => write!(
                f,
                "Kubernetes would refuse a label, which has at most 63 letters, digits, `-`, `_` and `.`: {}",
                labels.join("; ")
            ),
            Self::NotRendered { problems } => {
                write!(f, "the manifests would not run the digest: {}", problems.join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_manifests_tells_which_value_to_write() {
        let hex = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let cases = [
            (
                format!("there is r.example/web:1@sha256:sha256:{hex}"),
                "in the place of `${digest}`",
            ),
            (format!("there is r.example/web:1@{hex}, envoy:1"), "in the place of `${hex}`"),
            (format!("there is r.example/web:1@sha256:{hex}"), "may be wrong"),
            ("there is git@r.example/web:1".to_owned(), "may be wrong"),
        ];
        for (problem, want) in cases {
            let refusal = WriteRefusal::NotRendered { problems: vec![problem.clone()] };
            let advice = refusal.advice().unwrap();
            assert!(advice.contains(want), "{problem}: {advice}");
        }
    }

    #[test]
    fn lists_are_told_if_there_are_any() {
        let window = || "deny 0 9 * * * for 1h".to_owned();
        let cases = [
            (WriteRefusal::SyncWindow { windows: vec![] }, "a sync window forbids syncing now"),
            (
                WriteRefusal::SyncWindow { windows: vec![window(), window()] },
                "a sync window forbids syncing now: deny 0 9 * * * for 1h; deny 0 9 * * * for 1h",
            ),
            (
                WriteRefusal::NoSourceFits {
                    kinds: vec!["Helm".to_owned()],
                    sources: vec!["1 Kustomize a".to_owned()],
                },
                "no source of the application can take values for Helm",
            ),
            (
                WriteRefusal::WhichSource { sources: vec!["1 a".to_owned(), "2 b".to_owned()] },
                "several sources of the application can take these values",
            ),
        ];
        for (refusal, want) in cases {
            assert_eq!(refusal.to_string(), want);
        }
    }

    #[test]
    fn each_kind_of_owner_has_its_own_remedy() {
        let exempt = "merge into ApplicationSet root: `spec: {}`";
        let leave = "leave the parameters out of the manifest that application root has in git, or let it ignore \
                     that difference (ignoreDifferences with RespectIgnoreDifferences=true)";
        let cases = [
            ("ApplicationSet", true, exempt.to_owned()),
            ("ApplicationSet", false, exempt.to_owned()),
            ("Application", true, leave.to_owned()),
        ];
        for (kind, known, want) in cases {
            let (kind, name, exemption) = (kind.to_owned(), "root".into(), "spec: {}".into());
            let owned = WriteRefusal::Owned { kind, name, known, exemption };
            assert_eq!(owned.advice(), Some(want));
            // Of one that is known to revert, nothing is to be trusted.
            let remedy = owned.remedy().map(|(_, remedy)| remedy);
            assert_eq!(remedy, (!known).then_some(Remedy::TrustOwner));
        }
    }
}
