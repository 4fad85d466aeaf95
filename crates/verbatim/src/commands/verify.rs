//! `verbatim verify`.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;
use verbatim_record::{Anchor, Custody, EnvironmentId, Promotion, Rejection};

use super::context::{self, ReleaseArgs, find, registry};
use crate::project::{ProjectArgs, failures};
use crate::records::store::RecordFilter;
use crate::release::{Named, Release};

const EXAMPLES: &str = "\
Examples:
  verbatim verify                                      the latest build or stage
  verbatim verify registry.example.com/shop:42.3f0c9a  what a tag names now
  verbatim verify sha256:3f0c… --format json

cosign verifies the same records:
  cosign verify-attestation --key ci.pub --insecure-ignore-tlog=true \\
    --type slsaprovenance1 REPOSITORY@sha256:…";

/// Verify who built, tested and promoted a release
///
/// Only records count that a configured key signed, with the role for them. verbatim lists the others with the reason.
/// Ends with 1 if no record counts, if somebody tampered with one, or if the ledger of an environment that the release
/// entered is broken.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The release: `repository@sha256:…`, `repository:tag` or `sha256:…` [default: as for `verbatim promote`]
    #[arg(value_name = "REF")]
    reference: Option<Named>,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, Serialize)]
struct Verified {
    #[serde(serialize_with = "crate::release::result::release")]
    release: Release,
    verified: bool,
    #[serde(flatten)]
    custody: Custody,
    ledgers: Vec<LedgerState>,
}

/// The ledger of an environment that the release was promoted to.
#[derive(Debug, Serialize)]
struct LedgerState {
    environment: EnvironmentId,
    promotions: usize,
    /// Promotions that the listing does not show, found by their digest.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unlisted: BTreeSet<Digest>,
    faults: Vec<String>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.custody.fmt(f)?;
        for LedgerState { environment, promotions, unlisted, faults } in &self.ledgers {
            match faults.as_slice() {
                [] => writeln!(f, "  ledger of {environment}: {promotions} promotions, complete")?,
                faults => {
                    writeln!(f, "  ledger of {environment} is broken: {}", faults.join("; "))?
                }
            }
            for record in unlisted {
                writeln!(
                    f,
                    "      record {record} is not listed there; fetched by digest, and the next promotion lists it again"
                )?;
            }
        }
        f.write_str(if self.verified { "verified" } else { "NOT verified" })
    }
}

pub(crate) async fn run(args: VerifyArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let project = context::project(&args.project).await?;
    let registry = registry(&project)?;
    let named = args.reference.or_else(|| project.variables.get("VERBATIM_RELEASE")?.parse().ok());
    let found = find(&project, &registry, &ReleaseArgs { release: named }, console).await?;
    let (ring, now) = (&project.config.policy.ring, Timestamp::now());
    let digest = found.release.digest;
    let records = registry
        .store
        .of_release(ring, digest, &RecordFilter::All, now)
        .await
        .map_err(failures::registry)?;
    let places: BTreeSet<EnvironmentId> = records
        .promotions
        .iter()
        .map(|promotion| promotion.predicate().environment.clone())
        .collect();
    let mut ledgers = Vec::new();
    for environment in places {
        // What is known of the ledger from elsewhere: the history of the release, and what an earlier stage left.
        let handed_on =
            found.handed_on.iter().filter_map(|file| file.promotions.get(environment.name()));
        let of_release = records.promotions.iter();
        let of_release = of_release.filter(|it| it.predicate().environment == environment);
        let anchors: Vec<Anchor> =
            of_release.map(|it| it.anchor()).chain(handed_on.copied()).collect();
        let ledger = registry
            .store
            .of_environment(ring, &environment, &RecordFilter::only::<Promotion>(), &anchors, now)
            .await
            .map_err(failures::registry)?;
        ledgers.push(LedgerState {
            promotions: ledger.chain.promotions().len(),
            unlisted: ledger.unlisted,
            faults: ledger.chain.faults().iter().map(ToString::to_string).collect(),
            environment,
        });
    }
    let custody = Custody::tell(digest, &records);
    let tampered = custody.rejected.iter().any(|rejected| is_suspicious(&rejected.rejection));
    let broken = ledgers.iter().any(|ledger| !ledger.faults.is_empty());
    let verified = !custody.steps.is_empty() && !tampered && !broken;
    console.result(&Verified { release: found.release, verified, custody, ledgers })?;
    Ok(if verified { ExitStatus::Done } else { ExitStatus::No })
}

/// Whether a record that does not count is more than somebody else's: other tools and other keys may attach what they
/// like, but a record of one of our keys that does not hold was changed, copied or made with a wrong clock.
fn is_suspicious(rejection: &Rejection) -> bool {
    !matches!(
        rejection,
        Rejection::UnknownKey { .. }
            | Rejection::Certificate
            | Rejection::Foreign(_)
            | Rejection::MediaType(_)
            | Rejection::PayloadType(_)
            | Rejection::NotABundle(_)
            | Rejection::Unusable(_)
    )
}
