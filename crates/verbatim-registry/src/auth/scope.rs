//! The access that a request needs, and the [scopes][spec] that request it from a token server. Pure.
//!
//! [spec]: https://distribution.github.io/distribution/spec/auth/scope/

use std::collections::{BTreeMap, BTreeSet};

use verbatim_oci::Repository;

/// The access to a repository; more includes less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// Access to some repositories of one registry, and other scopes that the registry named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenScope {
    repositories: BTreeMap<String, Access>,
    further: BTreeSet<String>,
}

impl TokenScope {
    pub(crate) fn pull(repository: &Repository) -> Self {
        Self::default().and(repository, Access::Pull)
    }

    pub(crate) fn push(repository: &Repository) -> Self {
        Self::default().and(repository, Access::Push)
    }

    /// Adds `access` to `repository`.
    pub(crate) fn and(mut self, repository: &Repository, access: Access) -> Self {
        let have = self.repositories.entry(repository.path().to_owned()).or_insert(access);
        *have = access.max(*have);
        self
    }

    /// Adds the scopes of a challenge, except those that it covers already, so that they do not need a token of their
    /// own.
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
        let check = |need: TokenScope, want: &[&str]| assert_eq!(need.scopes(), want);
        check(TokenScope::pull(&a), &["repository:a/x:pull"]);
        check(TokenScope::push(&a), &["repository:a/x:pull,push"]);
        check(TokenScope::pull(&a).and(&a, Access::Push), &["repository:a/x:pull,push"]);
        check(TokenScope::push(&a).and(&a, Access::Pull), &["repository:a/x:pull,push"]);
        check(
            TokenScope::push(&b).and(&a, Access::Pull),
            &["repository:a/x:pull", "repository:b:pull,push"],
        );
        check(
            TokenScope::push(&a).and_scopes("repository:a/x:pull"),
            &["repository:a/x:pull,push"],
        );
        check(
            TokenScope::push(&a).and_scopes("repository:a/x:push,pull"),
            &["repository:a/x:pull,push"],
        );
        check(
            TokenScope::pull(&a).and_scopes("repository:a/x:delete registry:catalog:*"),
            &["repository:a/x:pull", "registry:catalog:*", "repository:a/x:delete"],
        );
    }

    #[test]
    fn more_covers_less() {
        let (a, b) = (repository("a"), repository("b"));
        let both = TokenScope::push(&a).and(&b, Access::Pull);
        let cases = [
            (TokenScope::push(&a), TokenScope::pull(&a), true),
            (TokenScope::pull(&a), TokenScope::push(&a), false),
            (TokenScope::pull(&a), TokenScope::pull(&b), false),
            (both.clone(), TokenScope::pull(&b), true),
            (both.clone(), TokenScope::push(&b), false),
            (TokenScope::pull(&a), both, false),
            (TokenScope::pull(&a), TokenScope::pull(&a).and_scopes("registry:catalog:*"), false),
        ];
        for (have, want, covers) in cases {
            assert_eq!(have.covers(&want), covers, "{have:?} {want:?}");
        }
    }
}
