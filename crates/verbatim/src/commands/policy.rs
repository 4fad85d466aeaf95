//! `verbatim policy`: looks at the rules of a project, and tests them. Changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};
use verbatim_oci::Digest;
use verbatim_policy::{Decision, Gate, Gates, next_opening};
use verbatim_record::{
    Credential, IdentitySubject, KeyRing, PolicyOrigin, Power, Role, TrustedKey,
};

use super::context::{self, ReleaseArgs, environment, find, registry};
use super::policy_pin::{self, PinArgs};
use super::policy_push::{self, PushArgs};
use crate::config::{self, nearest};
use crate::policy::cases::{self, Case, Cases, Wanted};
use crate::policy::gates::gates;
use crate::project::{Project, ProjectArgs};
use crate::promotion::{PromotionContext, ask};
use crate::release::result::ReleaseResult;

const CHECK_EXAMPLES: &str = "\
Examples:
  verbatim policy check
  verbatim policy check --format json";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  verbatim policy explain production                           the gates
  verbatim policy explain production --release sha256:3f0c…    their answers";

const TEST_EXAMPLES: &str = "\
Examples:
  verbatim policy test cases.yaml

A file of cases; docs/gates.md lists all facts:
  version: 1
  cases:
    - name: nobody promotes at night
      environment: production
      now: 2026-11-24T23:00:00Z
      build: { by: ci, at: 2026-11-24T10:00:00Z, branch: main }
      want: refused
      refused_by: [windows]";

/// Check, explain, test and push the policy of a project
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check the policy, and show the gates of each environment
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Explain the gates of an environment, and their answers for a release
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Test the policy with your own cases: facts and the expected decision
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    #[expect(
        missing_docs,
        reason = "a comment here would hide the one on its arguments, which is the help"
    )]
    Pin(PinArgs),
    #[expect(
        missing_docs,
        reason = "a comment here would hide the one on its arguments, which is the help"
    )]
    Push(PushArgs),
}

/// Which project.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    project: ProjectArgs,
}

/// Which environment, and which release.
#[derive(Debug, Args)]
#[command(mut_arg("release", |release| release.help(
    "The release to answer for: a tag, a digest or its first 12 digits, `repository:tag@sha256:…`, or an environment for what runs there [default: none; show only the gates]"
)))]
pub struct ExplainArgs {
    /// The environment, by its name in verbatim.yaml
    #[arg(value_name = "ENV")]
    environment: String,
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Which cases.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The file with the cases
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong, or a service did not answer.
pub async fn run(command: PolicyCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        PolicyCommand::Check(args) => check(&args, console).await,
        PolicyCommand::Explain(args) => explain(args, console).await,
        PolicyCommand::Test(args) => test(&args, console).await,
        PolicyCommand::Pin(args) => policy_pin::run(&args, console),
        PolicyCommand::Push(args) => policy_push::run(args, console).await,
    }
}

#[derive(Serialize)]
struct Checked {
    policy: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<PolicyOrigin>,
    environments: Vec<Asked>,
    warnings: Vec<String>,
}

/// What is asked before an environment.
#[derive(Serialize)]
struct Asked {
    environment: String,
    gates: Gates,
    skipped_by_rollbacks: Vec<&'static str>,
}

impl Asked {
    fn of(project: &Project, environment: &config::Environment) -> Result<Self, Failure> {
        let rules = project.config.rules(environment.name());
        let gates = gates(environment, &rules).map_err(Failure::usage)?;
        let skipped_by_rollbacks = gates
            .skipped_by_rollbacks
            .iter()
            .filter(|kind| gates.has(**kind))
            .map(|kind| kind.name())
            .collect();
        Ok(Self { environment: environment.id.to_string(), gates, skipped_by_rollbacks })
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["ENVIRONMENT", "GATES", "SKIPPED BY ROLLBACKS"]);
        for asked in &self.environments {
            let gates: Vec<String> = asked.gates.list.iter().map(Gate::name).collect();
            let skipped = asked.skipped_by_rollbacks.join(", ");
            table.row([asked.environment.clone(), gates.join(", "), skipped]);
        }
        writeln!(f, "{table}")?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if let Some(origin) = &self.origin {
            writeln!(f, "from {origin}")?;
        }
        match &self.policy {
            Some(policy) => write!(f, "policy {policy}"),
            None => write!(f, "no policy"),
        }
    }
}

async fn check(args: &CheckArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environments = &project.config.environments;
    let environments = environments
        .iter()
        .map(|environment| Asked::of(&project, environment))
        .collect::<Result<Vec<_>, _>>()?;
    let warnings = warnings(&project, &environments, Timestamp::now());
    let config::Policy { hash: policy, origin, .. } = project.config.policy;
    console.result(&Checked { policy, origin, environments, warnings })?;
    Ok(ExitStatus::Done)
}

/// What is right and still probably not meant.
fn warnings(project: &Project, environments: &[Asked], now: Timestamp) -> Vec<String> {
    let ring = &project.config.policy.ring;
    let mut warnings = Vec::new();
    let can = |power: Power| ring.iter().any(|key| ring.has_power(&key.roles, power));
    for (power, role, what) in [
        (Power::Build, Role::BUILDER, "no build counts, so nothing can be promoted"),
        (Power::Promote, Role::PROMOTER, "nothing can be promoted"),
    ] {
        if !can(power) {
            warnings.push(format!("no key has the role `{role}`: {what}"));
        }
    }
    warnings.extend(mistyped(ring, environments));
    if !can(Power::OverrideGate) {
        warnings.push(format!(
            "no key may override a gate: if the policy locks everybody out, only a new policy helps; the role is `{}`",
            Role::BREAK_GLASS
        ));
    }
    if !can(Power::Lift) {
        warnings.push(
            "only the signer of a veto or a lock can lift it: no key has a role with the power to lift"
                .to_owned(),
        );
    }
    warnings.extend(ring.iter().filter_map(run_by_anybody));
    if project.config.policy.has_pins {
        warnings.extend(project.config.environments.iter().flat_map(by_command_alone));
    }
    warnings.extend(environments.iter().flat_map(|asked| persons(ring, asked)));
    for asked in environments {
        for gate in &asked.gates.list {
            let Gate::Windows { windows } = gate else { continue };
            let is_open = verbatim_policy::is_open(windows, now);
            if !is_open && next_opening(windows, now).is_none() {
                warnings.push(format!("no window of {} opens within 400 days", asked.environment));
            }
        }
    }
    warnings
}

/// A workflow that runs for whatever branch somebody pushes: with an identity, the branch decides what signs.
fn run_by_anybody(key: &TrustedKey) -> Option<String> {
    let Credential::Identity(identity) = &key.key else { return None };
    let IdentitySubject::Workflow(_) = identity.subject else { return None };
    let missing = match (&identity.reference, &identity.event) {
        (Some(_), Some(_)) => return None,
        (None, Some(_)) => "`ref`",
        (Some(_), None) => "`event`",
        (None, None) => "`ref` and no `event`",
    };
    Some(format!(
        "the identity `{}` names no {missing}: whoever may push any branch, or start the workflow in any way, may sign with it",
        key.name
    ))
}

/// The suites of which the policy pins the command and no file: what the command runs is up to the code.
fn by_command_alone(environment: &config::Environment) -> Vec<String> {
    let bare = environment.tests.iter().filter(|(_, suite)| suite.files.is_empty());
    bare.map(|(name, suite)| {
        format!(
            "the policy pins no file of the suite `{name}` of {}: whoever changes the code may change what `{}` does",
            environment.id, suite.run
        )
    })
    .collect()
}

/// Approvals that the keys of the policy can hardly give, because of who holds these keys.
fn persons(ring: &KeyRing, asked: &Asked) -> Vec<String> {
    let mut warnings = Vec::new();
    for gate in &asked.gates.list {
        let Gate::Approvals(wanted) = gate else { continue };
        let (environment, count, role) = (&asked.environment, wanted.count, &wanted.role);
        let keys: Vec<_> = ring.iter().filter(|key| key.roles.contains(role)).collect();
        let mut persons = Vec::new();
        for person in keys.iter().filter_map(|key| ring.person(&key.key.id())) {
            if !persons.contains(&person) {
                persons.push(person);
            }
        }
        if persons.len() < usize::try_from(count).unwrap_or(usize::MAX) {
            let found = persons.len();
            warnings.push(format!(
                "{environment} wants {count} approvals by `{role}`, and its keys are of {found} persons: keys that share a name in `actors` count once"
            ));
        }
        for key in keys.iter().filter(|key| wanted.not_author && key.actors.is_empty()) {
            let name = &key.name;
            warnings.push(format!(
                "the key `{name}` has no `actors`: with `not_author` its approvals for {environment} do not count"
            ));
        }
    }
    warnings
}

/// Roles that look like slips of the pen: nothing asks for them, and something asks for one that is spelt alike. Any other
/// role of a team's own is theirs to give, also if only `powers` or people know it.
fn mistyped(ring: &KeyRing, environments: &[Asked]) -> Vec<String> {
    let gates = environments.iter().flat_map(|asked| &asked.gates.list);
    let of_gates = gates.filter_map(|gate| match gate {
        Gate::Approvals(wanted) => Some(&wanted.role),
        Gate::Attested(wanted) => Some(&wanted.role),
        _ => None,
    });
    let usual = [Role::BUILDER, Role::TESTER, Role::PROMOTER, Role::BREAK_GLASS];
    let asked: Vec<&str> = usual.iter().chain(of_gates).map(Role::as_str).collect();
    let mut warnings = Vec::new();
    for key in ring.iter() {
        for role in key.roles.iter().map(Role::as_str).filter(|role| !asked.contains(role)) {
            if let Some(meant) = nearest(role, &asked) {
                let name = &key.name;
                warnings.push(format!(
                    "nothing asks for the role `{role}` of the key `{name}`; did you mean `{meant}`?"
                ));
            }
        }
    }
    warnings
}

#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    asked: Asked,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(decision) = &self.decision {
            return write!(f, "{}", decision.in_full());
        }
        writeln!(f, "before {}:", self.asked.environment)?;
        for gate in &self.asked.gates.list {
            writeln!(f, "  {:<14}  {}", gate.name(), told(gate, Timestamp::now()))?;
        }
        match self.asked.skipped_by_rollbacks.as_slice() {
            [] => write!(f, "a rollback checks all of them"),
            skipped => write!(f, "a rollback does not check: {}", skipped.join(", ")),
        }
    }
}

/// What a gate asks, in words.
fn told(gate: &Gate, now: Timestamp) -> String {
    let or_any =
        |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(" or ") };
    match gate {
        Gate::Locked => "no lock on the environment".to_owned(),
        Gate::Vetoed => "no veto against the release".to_owned(),
        Gate::After { environment, ran } => match ran {
            verbatim_policy::Presence::Still => format!("proven in {environment}, and runs there"),
            verbatim_policy::Presence::Ever => format!("proven in {environment} once"),
        },
        Gate::Tested { environment, suites, max_age } => {
            let age = max_age.map(|age| format!(", within {age:#}")).unwrap_or_default();
            format!("{} passed in {environment}{age}", or_any(suites))
        }
        Gate::CleanSource => "built from a commit".to_owned(),
        Gate::Signed(signed) => format!(
            "built by {}, from {}, branch {}",
            or_any(&signed.builders),
            or_any(&signed.sources),
            or_any(&signed.branches)
        ),
        Gate::SameManifests { environment } => {
            format!("charts and manifests are those that it was proven with in {environment}")
        }
        Gate::Soak { environment, period } => format!("healthy in {environment} for {period:#}"),
        Gate::Approvals(wanted) => {
            let author = if wanted.not_author { ", nobody who built or promotes it" } else { "" };
            let age = wanted.max_age.map(|age| format!(", within {age:#}")).unwrap_or_default();
            format!("{} approvals by `{}`{author}{age}", wanted.count, wanted.role)
        }
        Gate::Windows { windows } => {
            let list = windows.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            match (verbatim_policy::is_open(windows, now), next_opening(windows, now)) {
                (true, _) => format!("{list}; open now"),
                (false, Some(opens)) => format!("{list}; opens at {opens:.0}"),
                (false, None) => format!("{list}; does not open within 400 days"),
            }
        }
        Gate::Attested(wanted) => {
            let says = wanted.condition.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            format!("`{}` attested {}{says}", wanted.role, wanted.predicate_type)
        }
        Gate::Order { .. } => "not older than what runs".to_owned(),
        Gate::Freshness { max_age } => format!("built within {max_age:#}"),
        Gate::When { condition, .. } => condition.to_string(),
        other => other.name(),
    }
}

async fn explain(args: ExplainArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let environment = environment(&project, &args.environment)?;
    let asked = Asked::of(&project, environment)?;
    if args.release.release.is_none() {
        console.result(&Explained { asked, release: None, decision: None })?;
        return Ok(ExitStatus::Done);
    }
    let registry = registry(&project)?;
    let found = find(&project, &registry, &args.release, console).await?;
    let context = PromotionContext::of(&project, &registry, environment, console)?;
    let (release, decision) = ask(&context, &found).await?;
    let status = if decision.allowed { ExitStatus::Done } else { ExitStatus::No };
    let release = Some(ReleaseResult::from(&release));
    console.result(&Explained { asked, release, decision: Some(decision) })?;
    Ok(status)
}

#[derive(Serialize)]
struct Tested {
    passed: usize,
    failed: usize,
    cases: Vec<TestedCase>,
}

#[derive(Serialize)]
struct TestedCase {
    name: String,
    passed: bool,
    /// What is wrong, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            let verdict = if case.passed { "pass" } else { "FAIL" };
            writeln!(f, "{verdict}  {}", case.name)?;
            if let Some(why) = &case.why {
                writeln!(f, "      {why}")?;
                for line in case.decision.iter().flat_map(|it| {
                    it.in_full().to_string().lines().map(ToOwned::to_owned).collect::<Vec<_>>()
                }) {
                    writeln!(f, "      {line}")?;
                }
            }
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

async fn test(args: &TestArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project, console).await?;
    let file = args.file.display();
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::usage(error).context(format!("cannot read {file}")))?;
    let cases: Cases = config::document(&args.file, &text).map_err(Failure::usage)?;
    if cases.version != 1 {
        return Err(Failure::usage(format!("{file}: version {} is not known", cases.version)));
    }
    if cases.cases.is_empty() {
        return Err(Failure::usage(format!("{file} has no cases")));
    }
    let cases: Vec<TestedCase> = cases.cases.iter().map(|case| tested(&project, case)).collect();
    let passed = cases.iter().filter(|case| case.passed).count();
    let failed = cases.len() - passed;
    console.result(&Tested { passed, failed, cases })?;
    Ok(if failed == 0 { ExitStatus::Done } else { ExitStatus::No })
}

fn tested(project: &Project, case: &Case) -> TestedCase {
    let name = case.name.clone();
    let decision = match cases::ask(&project.config, case) {
        Ok(decision) => decision,
        Err(error) => {
            return TestedCase {
                name,
                passed: false,
                why: Some(error.to_string()),
                decision: None,
            };
        }
    };
    let got = if decision.allowed { Wanted::Allowed } else { Wanted::Refused };
    let refused_by: BTreeSet<String> = decision.refusals().map(|it| it.gate.name()).collect();
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let why = match &case.refused_by {
        _ if got != case.want => Some(match got {
            Wanted::Allowed => "allowed, but the case wants it refused".to_owned(),
            Wanted::Refused => "refused, but the case wants it allowed".to_owned(),
        }),
        Some(wanted) if *wanted != refused_by => {
            Some(format!("refused by {}, but the case wants {}", list(&refused_by), list(wanted)))
        }
        _ => None,
    };
    TestedCase { name, passed: why.is_none(), why, decision: Some(decision) }
}
