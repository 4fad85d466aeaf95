//! The rules of a project: from `verbatim.yaml` or from a file of their own, checked against the environments
//! they speak of, and hashed. Must not decide anything; that is `verbatim-policy`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use verbatim_oci::Digest;
use verbatim_record::{
    Credential, KeyLife, KeyRing, KeyRingError, KeyScope, PolicyOrigin, Power, Powers, Role,
    TrustRoot, TrustedKey, VerifyingKey, usual_powers,
};

use super::file::{
    EnvironmentFile, File, KeyFile, PolicyFile, PowersFile, Ran, RulesFile, TrustRootFile,
};
use super::gates_file::GatesFile;
use super::identities;
use super::limits;
use super::located::{Located, Place};
use super::model::{Policy, Rules};
use super::pins::Pins;
use super::problem::Problem;
use super::rules::{self, Scope};

/// The roles that verbatim's own records need. Others may be given for approvals.
pub(crate) const BUILDER: &str = "builder";
pub(crate) const TESTER: &str = "tester";
pub(crate) const PROMOTER: &str = "promoter";

/// The rules as written, with the file whose places they carry.
pub(super) struct Written<'a> {
    /// What it was taken from, if that can be named for everybody.
    pub origin: Option<PolicyOrigin>,
    /// The folder that key files are relative to.
    pub root: &'a Path,
    pub project: &'a str,
    /// The environments that there are rules for, with their suites.
    pub suites: BTreeMap<&'a str, Vec<&'a str>>,
    /// What the rules are about, if they stand apart from it.
    pub pins: Option<&'a Pins>,
    /// The rules of each environment, with the place of its name.
    pub rules: Vec<(Located<String>, RulesFile)>,
    pub keys: Vec<KeyFile>,
    pub trust_root: Option<Located<TrustRootFile>>,
    pub powers: PowersFile,
}

impl<'a> Written<'a> {
    /// The rules that stand in `verbatim.yaml` itself.
    pub(super) fn inline(root: &'a Path, file: &'a File) -> Self {
        let suites = |environment: &'a EnvironmentFile| {
            let suites = environment.tests.keys().map(|suite| suite.value.as_str()).collect();
            (environment.name.value.as_str(), suites)
        };
        let rules = |environment: &EnvironmentFile| {
            let rules =
                RulesFile { after: environment.after.clone(), gates: environment.gates.clone() };
            (environment.name.clone(), rules)
        };
        Self {
            origin: None,
            root,
            project: &file.project.value,
            suites: file.environments.iter().map(suites).collect(),
            pins: None,
            rules: file.environments.iter().map(rules).collect(),
            keys: file.keys.clone(),
            trust_root: file.trust_root.clone(),
            powers: file.powers.clone(),
        }
    }

    /// The rules of a file of their own.
    pub(super) fn separate(
        origin: Option<PolicyOrigin>,
        root: &'a Path,
        pins: &'a Pins,
        file: &PolicyFile,
    ) -> Self {
        let rules = file.environments.iter();
        Self {
            origin,
            root,
            project: &pins.project,
            suites: pins.suites(),
            pins: Some(pins),
            rules: rules.map(|(name, rules)| (name.clone(), rules.clone())).collect(),
            keys: file.keys.clone(),
            trust_root: file.trust_root.clone(),
            powers: file.powers.clone(),
        }
    }
}

struct Key {
    name: String,
    credential: Credential,
    roles: Vec<String>,
    actors: BTreeSet<String>,
    scope: KeyScope,
    life: KeyLife,
}

/// Rules in `verbatim.yaml` beside `policy:` would be ignored, so they are mistakes.
pub(super) fn refuse_inline(file: &File, problems: &mut Vec<Problem>) {
    let mut refuse = |place: Place, what: &str| {
        problems.push(
            Problem::new(place, format!("{what} stands in the policy that is named, not here"))
                .help("move it there, or name no policy"),
        );
    };
    for environment in &file.environments {
        if !environment.after.is_empty() || has_gates(&environment.gates) {
            refuse(environment.name.place, "what must hold before an environment");
        }
    }
    for key in &file.keys {
        refuse(key.name.place, "a key");
    }
    if let Some(trust_root) = &file.trust_root {
        refuse(trust_root.place, "a trust root");
    }
    let PowersFile { veto, lock, lift, override_gate } = &file.powers;
    for roles in [veto, lock, lift, override_gate].into_iter().flatten() {
        refuse(roles.first().map(|role| role.place).unwrap_or_default(), "what a role may do");
    }
}

fn has_gates(gates: &GatesFile) -> bool {
    let GatesFile {
        tested,
        signed,
        same_manifests,
        soak,
        approvals,
        windows,
        attested,
        order,
        freshness,
        when,
        on_rollback,
    } = gates;
    let given = [
        tested.is_some(),
        signed.is_some(),
        same_manifests.is_some(),
        soak.is_some(),
        approvals.is_some(),
        windows.is_some(),
        attested.is_some(),
        order.is_some(),
        freshness.is_some(),
        !when.is_empty(),
        !on_rollback.ask.is_empty(),
        !on_rollback.skip.is_empty(),
    ];
    given.contains(&true)
}

/// Whether one of these gates opens only with a record that counts.
fn waits_for_records(gates: &GatesFile) -> bool {
    [
        gates.tested.is_some(),
        gates.signed.is_some(),
        gates.same_manifests.is_some(),
        gates.soak.is_some(),
        gates.approvals.is_some(),
        gates.attested.is_some(),
        gates.freshness.is_some(),
    ]
    .contains(&true)
}

/// Checks rules against the environments and suites that they are for. `read` gives the text of a key file.
pub(super) fn check(
    written: &Written<'_>,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Policy, Vec<Problem>> {
    let mut problems = Vec::new();
    let scope =
        Scope { project: written.project, suites: written.suites.clone(), keys: &written.keys };
    let unspoken = rules::rules("", &RulesFile::default(), &scope, &mut problems);
    let mut rules: BTreeMap<String, Rules> =
        scope.suites.keys().map(|name| ((*name).to_owned(), unspoken.clone())).collect();
    for (name, written) in &written.rules {
        // The project's name may be wrong, too; that is told elsewhere.
        if scope.environment(name, &mut problems).is_some() {
            let checked = rules::rules(&name.value, written, &scope, &mut problems);
            rules.insert(name.value.clone(), checked);
        }
    }
    cycles(&written.rules, &rules, &mut problems);
    keyless(written, &mut problems);
    let keys = keys(written, &scope, read, &mut problems);
    let trust_root = trust_root(written, read, &mut problems);
    let ring = ring(written, &keys, trust_root, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let trusted = Trusted { keys: hashed(&keys), ring: &ring };
    Ok(Policy {
        origin: written.origin.clone(),
        hash: Some(hash(&rules, &trusted, written.pins)),
        keys_hash: Some(Digest::of(trusted.json().to_string().as_bytes())),
        has_pins: written.pins.is_some(),
        rules,
        ring,
    })
}

/// Without a key no record counts, so nothing that waits for one could ever be entered.
fn keyless(written: &Written<'_>, problems: &mut Vec<Problem>) {
    let waits = |rules: &RulesFile| !rules.after.is_empty() || waits_for_records(&rules.gates);
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
    project: &Scope<'_>,
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
        let (scope, life) = (limits::scope(key, project, problems), limits::life(key, problems));
        match credential(key, written.root, read) {
            Ok(credential) => keys.push(Key {
                name: key.name.value.clone(),
                credential,
                roles: key.roles.iter().map(|role| role.value.clone()).collect(),
                actors: key.actors.iter().cloned().collect(),
                scope,
                life,
            }),
            Err(problem) => problems.push(problem),
        }
    }
    keys
}

/// The key or the identity.
pub(super) fn credential(
    key: &KeyFile,
    root: &Path,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Credential, Problem> {
    match (&key.identity, key.file.as_ref().or(key.pem.as_ref())) {
        (None, _) => public_key(key, root, read).map(Credential::from),
        (Some(identity), None) => identities::identity(identity).map(Credential::from),
        (Some(_), Some(key)) => {
            let message = "a key has an `identity`, or a `file` or a `pem`, not both";
            Err(Problem::new(key.place, message))
        }
    }
}

/// The trust root of the identities. Without an identity none is needed.
fn trust_root(
    written: &Written<'_>,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
    problems: &mut Vec<Problem>,
) -> Option<TrustRoot> {
    let Some(trust_root) = &written.trust_root else {
        let identity = written.keys.iter().find_map(|key| key.identity.as_ref());
        problems.extend(identity.map(|identity| identities::no_trust_root(identity.place)));
        return None;
    };
    match identities::trust_root(trust_root, written.root, read) {
        Ok((trusted, _)) => Some(trusted),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// The key that is written down, or that lies in the file that is named.
fn public_key(
    key: &KeyFile,
    root: &Path,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<VerifyingKey, Problem> {
    let (pem, place) = match (&key.file, &key.pem) {
        (Some(file), None) => {
            let text = read(&root.join(&file.value)).map_err(|error| error.to_string());
            (text, file.place)
        }
        (None, Some(pem)) => (Ok(pem.value.clone()), pem.place),
        (None, None) => {
            let message = "a key has a `file`, or stands here as `pem`; or it has an `identity`";
            return Err(Problem::new(key.name.place, message));
        }
        (Some(file), Some(_)) => {
            let message = "a key has a `file` or a `pem`, not both";
            return Err(Problem::new(file.place, message));
        }
    };
    let parsed =
        pem.and_then(|pem| VerifyingKey::from_pem(&pem).map_err(|error| error.to_string()));
    parsed.map_err(|error| {
        Problem::new(place, format!("not a usable public key: {error}"))
            .help("`verbatim key generate` makes a pair")
    })
}

/// One key under two names could count as two people.
fn ring(
    written: &Written<'_>,
    keys: &[Key],
    trust_root: Option<TrustRoot>,
    problems: &mut Vec<Problem>,
) -> KeyRing {
    let trusted: Vec<TrustedKey> = keys
        .iter()
        .map(|key| TrustedKey {
            name: key.name.clone(),
            key: key.credential.clone(),
            roles: key.roles.iter().map(Role::new).collect(),
            actors: key.actors.clone(),
            scope: key.scope.clone(),
            life: key.life,
        })
        .collect();
    let powers = powers(&written.powers, &trusted, problems);
    let ring = KeyRing::with_powers(trusted, powers).unwrap_or_else(|error| {
        let at = match &error {
            KeyRingError::Name(name) | KeyRingError::Key(_, name) => name,
        };
        let place =
            written.keys.iter().rfind(|key| key.name.value == *at).map(|key| key.name.place);
        problems.push(Problem::new(place.unwrap_or_default(), error.to_string()));
        KeyRing::default()
    });
    match trust_root {
        Some(trust_root) => ring.with_trust_root(trust_root),
        None => ring,
    }
}

/// What roles may do: as usual, but for what is written.
fn powers(written: &PowersFile, keys: &[TrustedKey], problems: &mut Vec<Problem>) -> Powers {
    let mut powers = usual_powers(keys.iter().flat_map(|key| &key.roles));
    for (power, roles) in [
        (Power::Veto, &written.veto),
        (Power::Lock, &written.lock),
        (Power::Lift, &written.lift),
        (Power::OverrideGate, &written.override_gate),
    ] {
        let Some(roles) = roles else { continue };
        for role in roles {
            let has = |key: &TrustedKey| key.roles.iter().any(|it| it.as_str() == role.value);
            if !keys.iter().any(has) {
                let known: BTreeSet<&str> =
                    keys.iter().flat_map(|key| &key.roles).map(Role::as_str).collect();
                let problem =
                    Problem::new(role.place, format!("no key has the role `{}`", role.value));
                problems.push(problem.did_you_mean(&role.value, known));
            }
        }
        powers.insert(power, roles.iter().map(|role| Role::new(role.value.clone())).collect());
    }
    powers
}

/// The keys as they are hashed, in one order.
fn hashed(keys: &[Key]) -> Vec<Value> {
    let mut keys: Vec<_> = keys
        .iter()
        .map(|key| {
            let (id, scope, life) = (key.credential.id(), json!(key.scope), json!(key.life));
            let mut hashed = json!({
                "name": key.name, "id": id.as_str(), "roles": key.roles, "actors": key.actors,
            });
            // Without limits the hash is that of a policy that knows none.
            for (name, limits) in [("scope", scope), ("life", life)] {
                if limits.as_object().is_some_and(|limits| !limits.is_empty()) {
                    hashed[name] = limits;
                }
            }
            hashed
        })
        .collect();
    keys.sort_by_key(ToString::to_string);
    keys
}

/// Whose word counts, as it is hashed.
struct Trusted<'a> {
    keys: Vec<Value>,
    ring: &'a KeyRing,
}

impl Trusted<'_> {
    fn json(&self) -> Value {
        let mut trusted = json!({ "keys": self.keys, "powers": self.ring.powers() });
        // Without one the hash is that of a policy that knows none.
        if let Some(trust_root) = self.ring.trust_root() {
            trusted["trustRoot"] = json!(trust_root.digest());
        }
        trusted
    }
}

/// The hash of what the rules say, whatever file, order of keys or comments they were written with.
fn hash(rules: &BTreeMap<String, Rules>, trusted: &Trusted<'_>, pins: Option<&Pins>) -> Digest {
    let environments: BTreeMap<&str, _> = rules
        .iter()
        .map(|(name, rules)| {
            let after = rules.after.iter().map(|after| {
                json!({ "environment": after.environment, "ran": match after.ran { Ran::Running => "running", Ran::Ever => "ever" } })
            });
            let skipped = rules.skipped_by_rollbacks.iter().map(|kind| kind.name());
            let rules = json!({
                "after": after.collect::<Vec<_>>(),
                "gates": rules.gates,
                "skippedByRollbacks": skipped.collect::<Vec<_>>(),
            });
            (name.as_str(), rules)
        })
        .collect();
    let mut policy = trusted.json();
    policy["version"] = json!(2);
    policy["environments"] = json!(environments);
    if let Some(pins) = pins {
        policy["pins"] = json!(pins.normal());
    }
    Digest::of(policy.to_string().as_bytes())
}
