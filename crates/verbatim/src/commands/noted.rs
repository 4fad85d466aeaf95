//! What a command notes on the applications of an environment: which record is the last of its ledger. [`anchors`] reads it.
//!
//! [`anchors`]: crate::environment::applications::anchors

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use verbatim_argocd::{annotate, records_annotation};
use verbatim_console::{Console, Failure};
use verbatim_oci::Digest;

use crate::config::Environment;
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::project::{Project, failures};

/// How many applications are written to at the same time.
const CONCURRENCY: usize = 8;
/// The most records that an application names.
const MOST: usize = 16;

/// Notes on the applications of some environments that a record is the last of their ledgers, and what it has seen, so that
/// whoever may write to the registry alone cannot hide it. `others` are annotations that come along. The record is what
/// counts, so what does not work here is a warning.
pub(crate) async fn note_record(
    project: &Project,
    environments: &[&Environment],
    record: (Digest, &[Digest]),
    others: &BTreeMap<String, Option<String>>,
    console: &Console,
) {
    for environment in environments {
        let written = async {
            let servers = Servers::of(project, [*environment])?;
            write_anchor(environment, &servers, record, others, console).await
        };
        if let Err(failure) = written.await {
            console.warn(format!(
                "cannot note the record on the applications of {}: {failure}; whoever may push to the registry can hide it until the next record names it",
                environment.id
            ));
        }
    }
}

async fn write_anchor(
    environment: &Environment,
    servers: &Servers,
    (record, seen): (Digest, &[Digest]),
    others: &BTreeMap<String, Option<String>>,
    console: &Console,
) -> Result<(), Failure> {
    let name = records_annotation(&environment.id.to_string());
    let wanted = |annotations: &BTreeMap<String, String>| {
        let before =
            annotations.get(&name).map(|text| applications::records_of(text)).unwrap_or_default();
        let mut wanted = others.clone();
        wanted.insert(name.clone(), Some(last_records(&before, record, seen)));
        wanted
    };
    let apps = applications::at(environment, servers).await?;
    let writes = stream::iter(&apps).map(|ObservedApp { app, .. }| async {
        let (client, app) = (servers.get(&app.server)?, applications::reference(app));
        let warnings = annotate(client, &app, wanted).await.map_err(failures::argocd)?;
        warnings.iter().for_each(|warning| console.warn(format!("{app}: {warning}")));
        Ok(())
    });
    writes.buffer_unordered(CONCURRENCY).try_collect().await
}

/// The records that an application names after one more, which has seen some.
fn last_records(before: &[Digest], record: Digest, seen: &[Digest]) -> String {
    let kept = before.iter().filter(|it| !seen.contains(it) && **it != record);
    // Annotations are small; what the oldest would show, a later record names.
    let newest = kept.rev().take(MOST - 1).collect::<Vec<_>>().into_iter().rev();
    newest.chain([&record]).map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_names_what_the_last_record_has_not_seen() {
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
        assert_eq!(last_records(&[], a, &[]), a.to_string());
        assert_eq!(last_records(&[a], b, &[a]), b.to_string());
        // Two at the same time.
        assert_eq!(last_records(&[a], b, &[]), format!("{a} {b}"));
        assert_eq!(last_records(&[a, b], c, &[b]), format!("{a} {c}"));
        assert_eq!(last_records(&[a, b], b, &[]), format!("{a} {b}"));
        let many: Vec<Digest> = (0..40).map(|n: u8| Digest::of(&[n])).collect();
        let named = last_records(&many, a, &[]);
        assert_eq!(named.split(' ').count(), MOST);
        assert!(named.starts_with(&many[25].to_string()) && named.ends_with(&a.to_string()));
    }
}
