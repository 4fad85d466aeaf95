//! What does not stop a deployment and should be known.

use std::fmt;

use serde::Serialize;

use crate::judge::evidence::EndedOperation;
use crate::model::InitiatedBy;

/// What did not stop a deployment and should be known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "warning", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeployWarning {
    /// Something could not be checked beforehand.
    NotChecked {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// An owner may revert the override.
    Owner {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// An ApplicationSet will remove the claim right after the write.
    ClaimWiped {
        /// Its name.
        set: String,
        /// What must be merged into it, as YAML.
        exemption: String,
    },
    /// An earlier run did not end; this one continues its work.
    Resumed {
        /// Its nonce.
        nonce: String,
    },
    /// The claim of another run was overridden.
    TookOver {
        /// Its release.
        release: String,
        /// Who.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The values stand and the claim is gone: somebody writes the annotations of this application.
    ClaimLost,
    /// Another client's change was there just before our write and gone after it.
    LostForeignChange {
        /// Where, as a JSON pointer.
        path: String,
        /// What was lost.
        value: String,
    },
    /// The values stand, and another operation than ours deployed them.
    Adopted {
        /// Who started it.
        by: InitiatedBy,
    },
    /// An operation of somebody else held the application, and was ended as asked.
    Ended(EndedOperation),
    /// The application is not healthy, for a reason that has nothing to do with the release.
    UnhealthyBefore {
        /// What was not healthy before, and is not now.
        resources: Vec<String>,
    },
    /// The claim could not be closed.
    ClaimOpen {
        /// Why.
        why: String,
    },
}

impl fmt::Display for DeployWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotChecked { what, why } => write!(f, "cannot check {what}: {why}"),
            Self::Owner { kind, name } => write!(f, "{kind} {name} owns the application and may revert the override"),
            Self::ClaimWiped { set, exemption } => write!(
                f,
                "ApplicationSet {set} removes the claim as soon as it is written, unless its controller preserves it for \
                 all sets, so nothing keeps other runs away; merge into the set: `{exemption}`"
            ),
            Self::Resumed { nonce } => write!(f, "an earlier run of this release did not finish ({nonce}): continuing it"),
            Self::TookOver { release, by } => {
                write!(f, "took over from an unfinished run of release {release}")?;
                by.as_ref().map_or(Ok(()), |by| write!(f, " ({by})"))
            }
            Self::ClaimLost => {
                f.write_str("the values are in place, but the claim is gone: another client writes the annotations of this application")
            }
            Self::LostForeignChange { path, value } => write!(
                f,
                "our write overwrote another client's change of {path} to {value}; Argo CD has no protection against that"
            ),
            Self::Adopted { by } if by.automated => f.write_str("Argo CD's automatic sync deployed the values"),
            Self::Adopted { by } => write!(f, "a sync of {} deployed the values", by.username),
            Self::Ended(operation) => write!(f, "ended another operation, as asked: {operation}"),
            Self::UnhealthyBefore { resources } => write!(
                f,
                "not healthy, as before the deployment, and not part of the release: {}",
                resources.join(", ")
            ),
            Self::ClaimOpen { why } => write!(f, "cannot close the claim: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adopted_operation_says_whose_it_is() {
        for (automated, want) in [
            (true, "Argo CD's automatic sync deployed the values"),
            (false, "a sync of anna deployed the values"),
        ] {
            let by = InitiatedBy { username: "anna".to_owned(), automated };
            assert_eq!(DeployWarning::Adopted { by }.to_string(), want);
        }
    }
}
