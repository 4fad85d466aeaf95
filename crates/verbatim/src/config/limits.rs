//! What a key of the policy may speak of, and how long: from text to values, every mistake with its place.

use std::collections::BTreeSet;

use jiff::Timestamp;
use verbatim_record::{KeyLife, KeyScope};

use super::file::KeyFile;
use super::located::{Located, Place};
use super::problem::Problem;
use super::rules::Scope;

/// The scope of a key. Environments and suites must be those of the project, unless the key is for other projects, too.
pub(super) fn scope(key: &KeyFile, project: &Scope<'_>, problems: &mut Vec<Problem>) -> KeyScope {
    let knows_all = match &key.projects {
        Some(projects) => projects.iter().all(|name| name.value == project.project),
        None => true,
    };
    let environments: BTreeSet<&str> = project.suites.keys().copied().collect();
    let suites: BTreeSet<&str> = project.suites.values().flatten().copied().collect();
    let place = key.name.place;
    KeyScope {
        environments: names(
            "environment",
            place,
            &key.environments,
            knows_all.then_some(&environments),
            problems,
        ),
        projects: names("project", place, &key.projects, None, problems),
        suites: names("suite", place, &key.suites, knows_all.then_some(&suites), problems),
    }
}

/// The names of one part of a scope, checked against those that are known.
fn names(
    part: &str,
    place: Place,
    written: &Option<Vec<Located<String>>>,
    known: Option<&BTreeSet<&str>>,
    problems: &mut Vec<Problem>,
) -> Option<BTreeSet<String>> {
    let written = written.as_ref()?;
    if written.is_empty() {
        problems.push(Problem::new(place, format!("a key for no {part} counts for nothing")));
    }
    for name in written {
        let Some(known) = known.filter(|known| !known.contains(name.value.as_str())) else {
            continue;
        };
        let problem = Problem::new(name.place, format!("no {part} `{}`", name.value));
        problems.push(problem.did_you_mean(&name.value, known.iter().copied()));
    }
    Some(written.iter().map(|name| name.value.clone()).collect())
}

/// The life of a key.
pub(super) fn life(key: &KeyFile, problems: &mut Vec<Problem>) -> KeyLife {
    let not_before = time(&key.not_before, problems);
    let not_after = time(&key.not_after, problems);
    if let (Some(first), Some(last), Some(written)) = (not_before, not_after, &key.not_after)
        && last <= first
    {
        problems.push(Problem::new(written.place, "the key ends before it begins"));
    }
    KeyLife { not_before, not_after, revoked_at: time(&key.revoked_at, problems) }
}

fn time(written: &Option<Located<String>>, problems: &mut Vec<Problem>) -> Option<Timestamp> {
    let written = written.as_ref()?;
    match written.value.parse() {
        Ok(time) => Some(time),
        Err(_) => {
            let message = format!("`{}` is not a time", written.value);
            problems.push(
                Problem::new(written.place, message)
                    .help("write it with its zone, such as 2026-12-01T00:00:00Z"),
            );
            None
        }
    }
}
