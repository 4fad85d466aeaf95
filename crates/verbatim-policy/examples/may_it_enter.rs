//! Asks three gates about a release of which no record was found, first in short and then in full.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use verbatim_oci::Digest;
use verbatim_policy::{Author, Bans, Condition, Facts, Gate, Gates, ReleaseOrder, decide};
use verbatim_record::{CiRun, EnvironmentId, Records};

#[expect(clippy::print_stdout, reason = "it is a program")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now: Timestamp = "2026-11-27T15:00:00Z".parse()?;
    let not_on_friday = Condition::parse("now.getDayOfWeek() != 5", &[])?;
    let gates = Gates::new(vec![
        Gate::Locked,
        Gate::CleanSource,
        Gate::When { name: "not_on_friday".to_owned(), condition: not_on_friday },
    ]);
    let facts = Facts {
        release: Digest::of(b"a manifest"),
        environment: EnvironmentId::new("shop", "production")?,
        is_rollback: false,
        is_beyond_previous: false,
        records: Ok(Records::default()),
        bans: Ok(Bans::default()),
        ledgers: BTreeMap::new(),
        live: BTreeMap::new(),
        healthy_since: BTreeMap::new(),
        manifests: Err("nobody asked Argo CD".to_owned()),
        order: ReleaseOrder::First,
        commit_there: None,
        author: Author::default(),
        plan: None,
        labels: Ok(BTreeMap::new()),
        applications: Value::Null,
        run: CiRun::default(),
        now,
    };
    let mut decision = decide(&gates, &facts);
    println!("{decision}");
    decision.override_gate("when:not_on_friday", "the shop is down")?;
    println!("{}", decision.in_full());
    Ok(())
}
