//! Under which policy the promotions of an environment were made, and whether it came from elsewhere or trusted other keys
//! since. Pure.

use verbatim_oci::Digest;
use verbatim_record::{PolicyChange, PolicyPart, Promotion, Verified};

use crate::config::Policy;

/// What of a policy is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyStamp {
    /// The name of its origin, whatever it stood for.
    origin: Option<String>,
    /// The hash of its keys; older records have none.
    keys: Option<Digest>,
}

impl PolicyStamp {
    /// That of a policy, if there is one.
    pub(crate) fn of(policy: &Policy) -> Option<Self> {
        policy.hash?;
        let origin = policy.origin.as_ref().map(|origin| origin.uri.clone());
        Some(Self { origin, keys: policy.keys_hash })
    }

    /// That of the last of these promotions that was made under one. Breaking the glass without a policy hides no change.
    pub(crate) fn last(promotions: &[Verified<Promotion>]) -> Option<Self> {
        promotions.iter().rev().find_map(|record| Self::recorded(record.predicate()))
    }

    /// That of a promotion, if it was made under one.
    pub(crate) fn recorded(promotion: &Promotion) -> Option<Self> {
        promotion.policy?;
        let origin = promotion.policy_origin.as_ref().map(|origin| origin.uri.clone());
        Some(Self { origin, keys: promotion.policy_keys })
    }

    /// What has changed since an earlier one.
    fn changes_since(&self, earlier: &Self) -> Vec<PolicyChange> {
        let mut changes = Vec::new();
        if self.origin != earlier.origin {
            changes.push(PolicyChange { what: PolicyPart::Origin, was: earlier.origin.clone() });
        }
        if let (Some(keys), Some(were)) = (self.keys, earlier.keys)
            && keys != were
        {
            changes.push(PolicyChange { what: PolicyPart::Keys, was: Some(were.to_string()) });
        }
        changes
    }
}

/// What has changed between two policies, where both are known.
pub(crate) fn changes(
    earlier: Option<&PolicyStamp>,
    later: Option<&PolicyStamp>,
) -> Vec<PolicyChange> {
    earlier.zip(later).map(|(earlier, later)| later.changes_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_keys_are_compared() {
        let stamp = |origin: &str, keys: &str| PolicyStamp {
            origin: (!origin.is_empty()).then(|| origin.to_owned()),
            keys: (!keys.is_empty()).then(|| Digest::of(keys.as_bytes())),
        };
        for (earlier, later, want) in [
            (stamp("git+a", "k"), stamp("git+a", "k"), &[][..]),
            (stamp("", ""), stamp("", "k"), &[]),
            (stamp("git+a", "k"), stamp("git+b", "k"), &["the policy came from git+a before"]),
            (stamp("", "k"), stamp("git+b", "k"), &["the policy came from a file before"]),
            (
                stamp("git+a", "k"),
                stamp("", "l"),
                &["the policy came from git+a before", "the policy trusted other keys before"],
            ),
        ] {
            let told = changes(Some(&earlier), Some(&later));
            assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), want);
        }
        assert!(changes(None, Some(&stamp("git+a", "k"))).is_empty());
    }
}
