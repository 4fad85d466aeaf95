//! The results as tables for people: for each service the requests down, the faults across. Must not judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::cell::Trouble;
use crate::run::Ended;
use crate::scene::Scene;

/// How many cells there were, and one table a service, in Markdown.
pub(crate) fn tables(scene: Scene, ended: &[Ended]) -> String {
    let mut text = format!("{} cells of {scene}.\n\n", ended.len());
    for &service in scene.services() {
        let ended: Vec<_> = ended.iter().filter(|one| one.cell.service == service).collect();
        if ended.is_empty() {
            continue;
        }
        let troubles: Vec<_> =
            Trouble::ALL.into_iter().filter(|trouble| trouble.concerns(service)).collect();
        let _ = write!(text, "### {scene}: {service}\n\n| request |");
        for trouble in &troubles {
            let _ = write!(text, " {trouble} |");
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(troubles.len()));
        for ((for_good, shape), statuses) in rows(&ended) {
            let on = if for_good { "every request from the first on: " } else { "" };
            let _ = write!(text, "| {on}{shape} |");
            for trouble in &troubles {
                let statuses: Vec<_> =
                    statuses.get(trouble).into_iter().flatten().map(i32::to_string).collect();
                let _ = write!(text, " {} |", statuses.join(", "));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// Whether the fault lasted, and the request that it hit first.
type Row = (bool, String);

/// By the kind of the request: those that run side by side change places.
fn rows(ended: &[&Ended]) -> BTreeMap<Row, BTreeMap<Trouble, BTreeSet<i32>>> {
    let mut rows = BTreeMap::<Row, BTreeMap<Trouble, BTreeSet<i32>>>::new();
    for one in ended {
        let Some(code) = one.code else { continue };
        let request = &one.cell.request;
        let row = (one.cell.for_good, request.shape.clone());
        rows.entry(row).or_default().entry(one.cell.trouble).or_default().insert(code);
    }
    rows
}
