//! The rules of a project: from `verbatim.yaml` or from a file of their own, checked against the environments
//! they speak of, and hashed. Must not decide anything; that is `verbatim-policy`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::json;
use verbatim_oci::Digest;
use verbatim_record::{KeyRing, KeyRingError, Role, TrustedKey, VerifyingKey};

use super::file::{File, GatesFile, KeyFile, PolicyFile, Ran, RulesFile};
use super::located::{Located, Place};
use super::model::{After, Policy, Rules, Tested};
use super::problem::Problem;

/// The roles that verbatim's own records need. Others may be given for approvals.
pub const BUILDER: &str = "builder";
/// Signs test results.
pub const TESTER: &str = "tester";
/// Signs promotions.
pub const PROMOTER: &str = "promoter";

/// The rules as written, with the file whose places they carry.
pub(super) struct Written<'a> {
    /// The file, if not `verbatim.yaml`.
    pub file: Option<PathBuf>,
    /// The folder that key files are relative to.
    pub root: &'a Path,
    /// The rules of each environment, with the place of its name.
    pub rules: Vec<(Located<String>, RulesFile)>,
    /// The keys.
    pub keys: Vec<KeyFile>,
}

impl<'a> Written<'a> {
    /// The rules that stand in `verbatim.yaml` itself.
    pub(super) fn inline(root: &'a Path, file: &File) -> Self {
        let rules = |environment: &super::file::EnvironmentFile| {
            let rules =
                RulesFile { after: environment.after.clone(), gates: environment.gates.clone() };
            (environment.name.clone(), rules)
        };
        Self {
            file: None,
            root,
            rules: file.environments.iter().map(rules).collect(),
            keys: file.keys.clone(),
        }
    }

    /// The rules of a file of their own.
    pub(super) fn separate(path: &Path, root: &'a Path, file: PolicyFile) -> Self {
        Self {
            file: Some(path.to_owned()),
            root,
            rules: file.environments.into_iter().collect(),
            keys: file.keys,
        }
    }
}

/// A key that was read.
struct Key {
    name: String,
    public: VerifyingKey,
    roles: Vec<String>,
}

/// Rules in `verbatim.yaml` beside `policy:` would be ignored, so they are mistakes.
pub(super) fn refuse_inline(file: &File, problems: &mut Vec<Problem>) {
    let mut refuse = |place: Place, what: &str| {
        problems.push(
            Problem::new(place, format!("{what} stands in the file that `policy` names, not here"))
                .help("move it there, or leave out `policy`"),
        );
    };
    for environment in &file.environments {
        if !environment.after.is_empty() || environment.gates.tested.is_some() {
            refuse(environment.name.place, "what must hold before an environment");
        }
    }
    for key in &file.keys {
        refuse(key.name.place, "a key");
    }
}

/// Checks rules against the environments and suites of the project. `read` gives the text of a key file.
///
/// # Errors
/// Every mistake that was found.
pub(super) fn check(
    file: &File,
    written: &Written<'_>,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Policy, Vec<Problem>> {
    let mut problems = Vec::new();
    let suites: BTreeMap<&str, Vec<&str>> = file
        .environments
        .iter()
        .map(|environment| {
            let suites = environment.tests.keys().map(|suite| suite.value.as_str()).collect();
            (environment.name.value.as_str(), suites)
        })
        .collect();
    let mut rules: BTreeMap<String, Rules> =
        suites.keys().map(|name| ((*name).to_owned(), Rules::default())).collect();
    for (name, written) in &written.rules {
        if known(name, &suites, &mut problems) {
            let checked = environment_rules(&name.value, written, &suites, &mut problems);
            rules.insert(name.value.clone(), checked);
        }
    }
    cycles(&written.rules, &rules, &mut problems);
    keyless(written, &mut problems);
    let keys = keys(written, read, &mut problems);
    let ring = ring(written, &keys, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let hash = hash(&rules, &keys);
    Ok(Policy { file: written.file.clone(), rules, ring, hash })
}

fn known(
    name: &Located<String>,
    suites: &BTreeMap<&str, Vec<&str>>,
    problems: &mut Vec<Problem>,
) -> bool {
    let is_known = suites.contains_key(name.value.as_str());
    if !is_known {
        let problem = Problem::new(name.place, format!("unknown environment `{}`", name.value));
        problems.push(problem.did_you_mean(&name.value, suites.keys().copied()));
    }
    is_known
}

fn environment_rules(
    name: &str,
    written: &RulesFile,
    suites: &BTreeMap<&str, Vec<&str>>,
    problems: &mut Vec<Problem>,
) -> Rules {
    let mut after = Vec::new();
    for Located { value, place } in &written.after {
        let earlier = Located { value: value.0.environment.clone(), place: *place };
        if earlier.value == name {
            problems.push(Problem::new(*place, format!("`{name}` cannot come after itself")));
        } else if known(&earlier, suites, problems) {
            after.push(After { environment: earlier.value, ran: value.0.ran });
        }
    }
    Rules { after, tested: tested(&written.gates, suites, problems) }
}

fn tested(
    gates: &GatesFile,
    suites: &BTreeMap<&str, Vec<&str>>,
    problems: &mut Vec<Problem>,
) -> Option<Tested> {
    let written = gates.tested.as_ref()?;
    if !known(&written.environment, suites, problems) {
        return None;
    }
    let there = &suites[written.environment.value.as_str()];
    for suite in written.suites.iter().filter(|suite| !there.contains(&suite.value.as_str())) {
        let message = format!("`{}` has no suite `{}`", written.environment.value, suite.value);
        problems.push(
            Problem::new(suite.place, message).did_you_mean(&suite.value, there.iter().copied()),
        );
    }
    if there.is_empty() && written.suites.is_empty() {
        let message =
            format!("`{}` has no tests, so nothing could ever pass", written.environment.value);
        problems.push(Problem::new(written.environment.place, message).help("add `tests` to it"));
    }
    let suites = if written.suites.is_empty() {
        there.iter().map(|suite| (*suite).to_owned()).collect()
    } else {
        written.suites.iter().map(|suite| suite.value.clone()).collect()
    };
    Some(Tested { environment: written.environment.value.clone(), suites })
}

/// Without a key no record counts, so nothing that waits for one could ever be entered.
fn keyless(written: &Written<'_>, problems: &mut Vec<Problem>) {
    let waits = |rules: &RulesFile| !rules.after.is_empty() || rules.gates.tested.is_some();
    let waiting = written.rules.iter().find(|(_, rules)| waits(rules));
    if let (true, Some((name, _))) = (written.keys.is_empty(), waiting) {
        let message =
            format!("`{}` waits for records, and no key is trusted to sign them", name.value);
        problems.push(
            Problem::new(name.place, message)
                .help("add `keys`; `verbatim key generate` makes a pair"),
        );
    }
}

/// A release could enter none of the environments of a cycle.
fn cycles(
    written: &[(Located<String>, RulesFile)],
    rules: &BTreeMap<String, Rules>,
    problems: &mut Vec<Problem>,
) {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (name, _) in written {
        if told.contains(name.value.as_str()) {
            continue;
        }
        if let Some(cycle) = path_back(&name.value, &name.value, rules, &mut BTreeSet::new()) {
            told.extend(cycle.iter().copied());
            let way =
                cycle.iter().rev().map(|name| (*name).to_owned()).collect::<Vec<_>>().join(" → ");
            let message = format!("no release could ever come here: {} → {way}", name.value);
            problems.push(
                Problem::new(name.place, message).help("take one `after` out of this circle"),
            );
        }
    }
}

/// The environments on a way from `from` along `after` back to `goal`, the goal last visited first.
fn path_back<'a>(
    from: &str,
    goal: &str,
    rules: &'a BTreeMap<String, Rules>,
    seen: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    for after in &rules.get(from)?.after {
        let next = after.environment.as_str();
        if next == goal {
            return Some(vec![next]);
        }
        if seen.insert(next)
            && let Some(mut way) = path_back(next, goal, rules, seen)
        {
            way.push(next);
            return Some(way);
        }
    }
    None
}

fn keys(
    written: &Written<'_>,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
    problems: &mut Vec<Problem>,
) -> Vec<Key> {
    let mut keys = Vec::new();
    for key in &written.keys {
        if key.roles.is_empty() {
            let help = format!("for example `roles: [{BUILDER}, {TESTER}, {PROMOTER}]`");
            problems.push(
                Problem::new(key.name.place, "a key without roles counts for nothing").help(help),
            );
        }
        let path = written.root.join(&key.file.value);
        match read(&path).map_err(|error| error.to_string()).and_then(|pem| public_key(&pem)) {
            Ok(public) => keys.push(Key {
                name: key.name.value.clone(),
                public,
                roles: key.roles.iter().map(|role| role.value.clone()).collect(),
            }),
            Err(error) => problems.push(
                Problem::new(key.file.place, format!("not a usable public key: {error}"))
                    .help("`verbatim key generate` makes a pair"),
            ),
        }
    }
    keys
}

/// One key under two names could count as two people.
fn ring(written: &Written<'_>, keys: &[Key], problems: &mut Vec<Problem>) -> KeyRing {
    let trusted = keys.iter().map(|key| TrustedKey {
        name: key.name.clone(),
        key: key.public,
        roles: key.roles.iter().map(Role::new).collect(),
    });
    KeyRing::new(trusted).unwrap_or_else(|error| {
        let at = match &error {
            KeyRingError::Name(name) | KeyRingError::Key(_, name) => name,
        };
        let place =
            written.keys.iter().rfind(|key| key.name.value == *at).map(|key| key.name.place);
        problems.push(Problem::new(place.unwrap_or_default(), error.to_string()));
        KeyRing::default()
    })
}

fn public_key(pem: &str) -> Result<VerifyingKey, String> {
    VerifyingKey::from_pem(pem).map_err(|error| error.to_string())
}

/// The hash of what the rules say, whatever file, order of keys or comments they were written with.
fn hash(rules: &BTreeMap<String, Rules>, keys: &[Key]) -> Digest {
    let environments: BTreeMap<&str, _> = rules
        .iter()
        .map(|(name, rules)| {
            let after = rules.after.iter().map(|after| {
                json!({ "environment": after.environment, "ran": match after.ran { Ran::Running => "running", Ran::Ever => "ever" } })
            });
            let tested =
                rules.tested.as_ref().map(|tested| json!({ "in": tested.environment, "suites": tested.suites }));
            (name.as_str(), json!({ "after": after.collect::<Vec<_>>(), "tested": tested }))
        })
        .collect();
    let mut keys: Vec<_> = keys
        .iter()
        .map(|key| json!({ "name": key.name, "id": key.public.id().as_str(), "roles": key.roles }))
        .collect();
    keys.sort_by_key(ToString::to_string);
    Digest::of(
        json!({ "version": 1, "environments": environments, "keys": keys }).to_string().as_bytes(),
    )
}
