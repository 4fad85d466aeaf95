//! What a request needs to be allowed to do, and the [scopes][spec] that ask a token server for it. Pure.
//!
//! [spec]: https://distribution.github.io/distribution/spec/auth/scope/

use std::collections::{BTreeMap, BTreeSet};

use verbatim_oci::Repository;

/// What may be done in a repository; more includes less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// Access to some repositories of one registry, and whatever else the registry asked for by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    repositories: BTreeMap<String, Access>,
    further: BTreeSet<String>,
}

impl Need {
    pub(crate) fn pull(repository: &Repository) -> Self {
        Self::default().and(repository, Access::Pull)
    }

    pub(crate) fn push(repository: &Repository) -> Self {
        Self::default().and(repository, Access::Push)
    }

    /// This, and `access` to `repository` as well.
    pub(crate) fn and(mut self, repository: &Repository, access: Access) -> Self {
        let have = self.repositories.entry(repository.path().to_owned()).or_insert(access);
        *have = access.max(*have);
        self
    }

    /// This, and the scopes of a challenge as well. Those that it covers already are left out, so that a registry that
    /// asks for what we know anyway does not part our tokens.
    pub(crate) fn and_scopes(mut self, scopes: &str) -> Self {
        let unknown = scopes.split_ascii_whitespace().filter(|scope| !self.covers_scope(scope));
        let unknown: Vec<String> = unknown.map(str::to_owned).collect();
        self.further.extend(unknown);
        self
    }

    /// Whether a token for `self` serves `other`.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let has = |(path, access)| self.repositories.get(path).is_some_and(|have| have >= access);
        other.repositories.iter().all(has) && other.further.is_subset(&self.further)
    }

    fn covers_scope(&self, scope: &str) -> bool {
        let Some((path, actions)) =
            scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'))
        else {
            return false;
        };
        self.repositories.get(path).is_some_and(|access| {
            actions
                .split(',')
                .all(|action| action == "pull" || (action == "push" && *access == Access::Push))
        })
    }

    /// The scopes, in a stable order.
    pub(crate) fn scopes(&self) -> Vec<String> {
        let known = self.repositories.iter().map(|(path, access)| match access {
            Access::Pull => format!("repository:{path}:pull"),
            Access::Push => format!("repository:{path}:pull,push"),
        });
        known.chain(self.further.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(path: &str) -> Repository {
        format!("h.io/{path}").parse().unwrap()
    }

    #[test]
    fn needs_become_scopes() {
        let (a, b) = (repository("a/x"), repository("b"));
        let check = |need: Need, want: &[&str]| assert_eq!(need.scopes(), want);
        check(Need::pull(&a), &["repository:a/x:pull"]);
        check(Need::push(&a), &["repository:a/x:pull,push"]);
        check(Need::pull(&a).and(&a, Access::Push), &["repository:a/x:pull,push"]);
        check(Need::push(&a).and(&a, Access::Pull), &["repository:a/x:pull,push"]);
        check(
            Need::push(&b).and(&a, Access::Pull),
            &["repository:a/x:pull", "repository:b:pull,push"],
        );
        check(Need::push(&a).and_scopes("repository:a/x:pull"), &["repository:a/x:pull,push"]);
        check(Need::push(&a).and_scopes("repository:a/x:push,pull"), &["repository:a/x:pull,push"]);
        check(
            Need::pull(&a).and_scopes("repository:a/x:delete registry:catalog:*"),
            &["repository:a/x:pull", "registry:catalog:*", "repository:a/x:delete"],
        );
    }

    #[test]
    fn more_covers_less() {
        let (a, b) = (repository("a"), repository("b"));
        let both = Need::push(&a).and(&b, Access::Pull);
        let cases = [
            (Need::push(&a), Need::pull(&a), true),
            (Need::pull(&a), Need::push(&a), false),
            (Need::pull(&a), Need::pull(&b), false),
            (both.clone(), Need::pull(&b), true),
            (both.clone(), Need::push(&b), false),
            (Need::pull(&a), both, false),
            (Need::pull(&a), Need::pull(&a).and_scopes("registry:catalog:*"), false),
        ];
        for (have, want, covers) in cases {
            assert_eq!(have.covers(&want), covers, "{have:?} {want:?}");
        }
    }
}
