//! One module for each CI: how to recognise it, and what its variables mean. Each test names the page that documents them.

mod azure;
mod buildkite;
mod circleci;
mod drone;
mod github;
mod gitlab;
mod jenkins;
mod travis;
mod woodpecker;

use std::collections::BTreeMap;

use crate::context::CiContext;
use crate::text::Env;

/// Recognises the CI by its variables, and reads them. Without a CI the context is empty and of kind `Git`.
///
/// The first that fits wins. Jenkins comes last: its variables are also set for what a Jenkins job starts, which may be
/// the agent of another CI.
pub fn detect(variables: &BTreeMap<String, String>) -> CiContext {
    let env = Env(variables);
    let providers: [fn(&Env<'_>) -> Option<CiContext>; 9] = [
        github::read,
        gitlab::read,
        travis::read,
        circleci::read,
        buildkite::read,
        azure::read,
        woodpecker::read,
        drone::read,
        jenkins::read,
    ];
    providers.iter().find_map(|read| read(&env)).unwrap_or_default()
}

/// The name of a branch or tag inside a full reference.
fn reference<'a>(full: &'a str, kind: &str) -> Option<&'a str> {
    full.strip_prefix("refs/")?.strip_prefix(kind)?.strip_prefix('/')
}

#[cfg(test)]
mod testing {
    use super::*;

    /// A fixture: one `NAME=value` a line.
    pub(super) fn detected(fixture: &str) -> CiContext {
        let variables = fixture
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once('=').expect(line);
                (name.to_owned(), value.to_owned())
            })
            .collect();
        detect(&variables)
    }

    pub(super) fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn nothing_is_git() {
        assert_eq!(detected(""), CiContext::default());
        assert!(!detected("CI=true").is_ci());
        assert!(!detected("BUILD_NUMBER=7").is_ci(), "anybody may set that");
        assert!(!detected("TRAVIS=false\nGITHUB_ACTIONS=").is_ci());
    }
}
