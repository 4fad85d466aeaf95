//! What is looked at on this machine: the working tree, and whoever signs.

use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_record::Power;

use super::{Check, Finding};
use crate::project::{KeyArgs, Project, git};

/// What a key may do beside writing the records of its roles.
const POWERS: [(Power, &str); 4] = [
    (Power::Veto, "veto"),
    (Power::Lock, "lock"),
    (Power::Lift, "lift the vetoes and locks of others"),
    (Power::OverrideGate, "override gates"),
];

/// The working tree: what would be built from it, and how far that may go.
pub(crate) async fn source(project: &Project) -> Finding {
    let subject = project.folder().display().to_string();
    let state = match git::state(project.folder()).await {
        Ok(state) => state,
        Err(error) => {
            let failure = Failure::new(ExitStatus::Usage, error);
            return Finding::warning(Check::Source, subject, failure, "`build` needs a commit");
        }
    };
    let commit: String = state.commit.chars().take(12).collect();
    if !state.is_dirty() {
        return Finding::ok(Check::Source, subject, format!("commit {commit}, without changes"));
    }
    let failure = Failure::new(ExitStatus::No, format!("commit {commit} with local changes"));
    let who = "what is built goes no further than the first environment";
    Finding::warning(Check::Source, subject, failure, who)
}

/// Whoever signs, and what the signature is good for.
pub(crate) async fn key(project: &Project, arguments: &KeyArgs) -> Finding {
    let ring = &project.config.policy.ring;
    if project.config.policy.is_known() && ring.is_empty() {
        let failure = Failure::usage("no `keys` are configured")
            .hint("make a key with `verbatim key generate`, and list its public half in `keys`");
        return Finding::warning(Check::Key, "", failure, "no record will count");
    }
    let signer = match project.signer(arguments, &[], &Console::silent()).await {
        Ok(signer) => signer,
        Err(failure) if !project.is_given_a_key(arguments) => {
            return Finding::warning(
                Check::Key,
                "",
                failure,
                "only reading commands can do without",
            );
        }
        Err(failure) => return Finding::failed(Check::Key, "", failure),
    };
    let id = signer.verifying_key().id();
    let Some(trusted) = ring.find(&id) else {
        return Finding::ok(
            Check::Key,
            id.to_string(),
            "it can sign; there is no policy to ask more",
        );
    };
    let roles: Vec<&str> = trusted.roles.iter().map(|role| role.as_str()).collect();
    let may: Vec<&str> = POWERS
        .into_iter()
        .filter_map(|(power, name)| ring.has_power(&trusted.roles, power).then_some(name))
        .collect();
    let mut detail = format!("roles {}", roles.join(", "));
    if !may.is_empty() {
        detail.push_str(&format!("; may {}", may.join(", ")));
    }
    Finding::ok(Check::Key, trusted.name.clone(), detail)
}
