//! `windows`, `freshness` and `order`: whether it is the right time for this release.

use jiff::{SignedDuration, Timestamp};
use verbatim_record::{GateEvidence, Verified};

use super::{Finding, to_the_second};
use crate::decision::Reason;
use crate::facts::{Facts, ReleaseOrder};
use crate::windows::{WindowKind, ZonedWindow, is_open, next_opening};

pub(super) fn windows(windows: &[ZonedWindow], facts: &Facts) -> Finding {
    let now = facts.now;
    let evidence = |text: String| GateEvidence { record: None, text };
    if is_open(windows, now) {
        let open = windows.iter().filter(|it| it.kind == WindowKind::Allow && it.is_open(now));
        let open: Vec<_> = open.map(|window| evidence(window.to_string())).collect();
        return Finding::pass(Reason::WindowOpen, "open now".to_owned(), open);
    }
    let denied = windows.iter().filter(|it| it.kind == WindowKind::Deny && it.is_open(now));
    let mut shown: Vec<_> = denied.map(|window| evidence(window.to_string())).collect();
    let text = match shown.is_empty() {
        false => "a `deny` window is open",
        true => "no `allow` window is open",
    };
    if shown.is_empty() {
        shown = windows
            .iter()
            .filter(|window| window.kind == WindowKind::Allow)
            .map(|window| evidence(window.to_string()))
            .collect();
    }
    let opens = next_opening(windows, now);
    let remedy = match opens {
        Some(opens) => format!("wait until {}{}", to_the_second(opens), local(windows, opens)),
        None => {
            "no window opens within 400 days: change the policy, or override the gate".to_owned()
        }
    };
    Finding::refuse(Reason::WindowClosed { opens }, text.to_owned(), shown, remedy)
}

/// A moment on the clocks of the windows, where they are not those of UTC.
fn local(windows: &[ZonedWindow], moment: Timestamp) -> String {
    let mut shown: Vec<String> = Vec::new();
    for window in windows {
        let local = window.zone.to_datetime(moment);
        let text = format!("{} in {}", local.strftime("%a %Y-%m-%d %H:%M"), window.zone_name);
        if window.zone_name != "UTC" && !shown.contains(&text) {
            shown.push(text);
        }
    }
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

pub(super) fn freshness(max_age: SignedDuration, facts: &Facts) -> Finding {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return Finding::unreadable("the records of the release", cause),
    };
    let latest = records
        .builds
        .iter()
        .filter(|build| build.statement().is_about(&facts.release))
        .filter_map(|build| Some((build.recorded_at()?, build)))
        .max_by_key(|(built, _)| *built);
    let Some((built, record)) = latest else {
        return Finding::refuse(
            Reason::NoBuildRecord,
            "no build record that counts says when it was built".to_owned(),
            Vec::new(),
            "build it with `verbatim build` and a key with the role `builder`".to_owned(),
        );
    };
    let evidence = vec![GateEvidence {
        record: Some(Verified::record(record)),
        text: format!("built at {}, signed by {}", to_the_second(built), record.signed_by()),
    }];
    if facts.now.duration_since(built) <= max_age {
        let text = format!("built at {}", to_the_second(built));
        return Finding::pass(Reason::Fresh { built }, text, evidence);
    }
    Finding::refuse(
        Reason::Stale { built },
        format!("built at {}, more than {max_age:#} ago", to_the_second(built)),
        evidence,
        "build again, and promote the new release".to_owned(),
    )
}

pub(super) fn order(unrelated: bool, facts: &Facts) -> Finding {
    let environment = &facts.environment;
    let pass = |text: &str| Finding::pass(Reason::NotOlder, text.to_owned(), Vec::new());
    match facts.order {
        ReleaseOrder::First => pass("nothing promoted there yet"),
        ReleaseOrder::Same => pass("the same release or commit runs there"),
        ReleaseOrder::Newer => pass("newer than what runs there"),
        ReleaseOrder::Unrelated(_) if unrelated => {
            pass("not comparable with what runs there, which the policy allows")
        }
        ReleaseOrder::Older(than) => Finding::refuse(
            Reason::Older { than },
            format!("older than {}, which runs in {environment}", than.short()),
            Vec::new(),
            format!(
                "promote a newer release, or go back with `verbatim rollback {}`",
                environment.name()
            ),
        ),
        ReleaseOrder::Unrelated(with) => Finding::refuse(
            Reason::NotComparable { with },
            format!("not comparable with {}, which runs in {environment}", with.short()),
            Vec::new(),
            "run where git has the history of both commits, or build both in one pipeline"
                .to_owned(),
        ),
    }
}
