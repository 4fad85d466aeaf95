//! `signed`: a build record names a trusted builder, source and branch.

use verbatim_record::{GateEvidence, Provenance, Verified};
use wildmatch::WildMatchPattern;

use super::Finding;
use crate::decision::Reason;
use crate::facts::Facts;
use crate::gate::BuildRequirement;

pub(super) fn judge(wanted: &BuildRequirement, facts: &Facts) -> Finding {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return Finding::unreadable("the records of the release", cause),
    };
    let builds: Vec<_> =
        records.builds.iter().filter(|build| build.statement().is_about(&facts.release)).collect();
    let mut rejected = Vec::new();
    for build in builds.iter().rev() {
        match complaint(wanted, build.predicate()) {
            None => {
                let text = "built by a trusted builder from a trusted source".to_owned();
                return Finding::pass(Reason::TrustedBuild, text, vec![evidence(build, None)]);
            }
            Some(complaint) => rejected.push(evidence(build, Some(complaint))),
        }
    }
    let remedy = "build it where the policy trusts builder, source and branch";
    if builds.is_empty() {
        return Finding::refuse(
            Reason::NoBuildRecord,
            "no build record that counts".to_owned(),
            rejected,
            format!("{remedy}; adopt an image of another builder with `verbatim adopt`"),
        );
    }
    Finding::refuse(
        Reason::UntrustedBuild,
        "no build record names a trusted builder, source and branch".to_owned(),
        rejected,
        remedy.to_owned(),
    )
}

/// What is wrong with a build; `None` if nothing is. What is not named is not trusted.
fn complaint(wanted: &BuildRequirement, build: &Provenance) -> Option<String> {
    let source = build.source().unwrap_or_default();
    let checks = [
        ("builder", &wanted.builders, Some(build.run_details.builder.id.as_str())),
        ("source", &wanted.sources, source.repository.as_deref()),
        ("branch", &wanted.branches, source.branch.as_deref()),
    ];
    checks.into_iter().find_map(|(what, patterns, found)| {
        let fits = |text: &str| patterns.iter().any(|pattern| matches(pattern, text));
        match found {
            _ if patterns.is_empty() => None,
            Some(text) if fits(text) => None,
            Some(text) => Some(format!("{what} {text} is not {}", patterns.join(" or "))),
            None => Some(format!("it names no {what}")),
        }
    })
}

fn evidence(build: &Verified<Provenance>, complaint: Option<String>) -> GateEvidence {
    let provenance = build.predicate();
    let source = provenance.source().unwrap_or_default();
    let mut text = format!("built by {}", provenance.run_details.builder.id);
    for (what, value) in [(" from ", &source.repository), (", branch ", &source.branch)] {
        if let Some(value) = value {
            text.push_str(&format!("{what}{value}"));
        }
    }
    text.push_str(&format!(", signed by {}", build.signed_by()));
    if let Some(complaint) = complaint {
        text.push_str(&format!(": {complaint}"));
    }
    GateEvidence { record: Some(build.record()), text }
}

/// Whether a text fits a pattern, in which `*` stands for any text, and nothing else for more than itself.
fn matches(pattern: &str, text: &str) -> bool {
    WildMatchPattern::<'*', '\0'>::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let cases = [
            ("main", "main", true),
            ("main", "main2", false),
            ("main", "domain", false),
            ("release/*", "release/1.2", true),
            ("release/*", "release/", true),
            ("release/*", "prerelease/1", false),
            ("*", "", true),
            ("*", "anything", true),
            ("https://*.example.com/*/shop", "https://git.example.com/acme/shop", true),
            ("https://*.example.com/*/shop", "https://git.example.com/acme/shop2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
