//! A plan as Markdown, for a comment on a pull request, and how a move of a release ended, for the summary of a job. Pure.

use std::fmt::{self, Display, Write as _};

use verbatim_console::ExitStatus;
use verbatim_text::{code, fenced, markdown, one_line};

use super::outcome::PromotionResult;
use crate::environment::drift::Drift;

pub(crate) struct Comment<'a>(pub &'a PromotionResult);

impl Display for Comment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.0;
        writeln!(f, "### {} → {}\n", code(&result.release), result.environment)?;
        gates(f, result)?;
        if let Some(newer) = &result.superseded_by {
            writeln!(f, "**Superseded**: {} runs there, which is newer.\n", code(&newer.digest))?;
        }
        for fault in &result.ledger_faults {
            writeln!(f, "**The ledger cannot be relied on**: {}\n", markdown(fault))?;
        }
        for app in &result.missing {
            writeln!(f, "**Missing**: {} {}.\n", code(app), Drift::Missing)?;
        }
        let Some(plan) = &result.plan else { return writeln!(f, "Nothing is planned.") };
        writeln!(f, "| application | value | old | new |\n|---|---|---|---|")?;
        for app in &plan.apps {
            for change in &app.plan.changes {
                let new = change.shown_new();
                let old = match change.is_noop() {
                    true => "(the same)".to_owned(),
                    false => code(&change.told_old()),
                };
                let key = code(&change.name());
                writeln!(f, "| {} | {key} | {old} | {} |", code(&app.plan.app), code(&new))?;
            }
        }
        writeln!(f)?;
        refusals(f, result)?;
        predictions(f, result)?;
        write!(f, "Plan {}", code(&plan.hash()))?;
        match &plan.policy {
            Some(policy) => writeln!(f, ", made under policy {}", code(policy)),
            None => writeln!(f, ", made without a policy"),
        }
    }
}

/// How a move of a release ended: what stands in its way first, everything else below it.
pub(crate) struct Summary<'a>(pub &'a PromotionResult);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.0;
        let end = match (result.proven, result.is_shown_only()) {
            (true, _) => "proven".to_owned(),
            (false, true) if result.status == ExitStatus::Done => "planned".to_owned(),
            _ if !result.decision.allowed => format!("refused ({})", result.status.code()),
            _ => format!("{} ({})", result.status.name(), result.status.code()),
        };
        writeln!(f, "### {} → {}: {end}\n", code(&result.release), result.environment)?;
        for answer in result.decision.answers.iter().filter(|answer| !answer.lets_pass()) {
            write!(f, "- gate **{}**: {}", answer.gate.name(), markdown(&answer.text))?;
            match &answer.remedy {
                Some(remedy) => writeln!(f, " — {}", markdown(remedy))?,
                None => writeln!(f)?,
            }
        }
        for app in result.applications.iter().filter(|app| !app.is_proven() && !app.is_planned()) {
            let why = app.error.clone().or_else(|| app.changed_since.clone());
            let why = why.or_else(|| Some(app.report.as_ref()?.to_string()));
            let first = why.unwrap_or_default();
            writeln!(f, "- {}: {}", code(&app.app), markdown(first.lines().next().unwrap_or("")))?;
        }
        for hint in result.hints() {
            writeln!(f, "- hint: {}", code(&hint))?;
        }
        writeln!(f, "\n<details><summary>In full</summary>\n")?;
        writeln!(f, "{}\n</details>", fenced("text", &format!("{result:#}")))
    }
}

fn gates(f: &mut fmt::Formatter<'_>, result: &PromotionResult) -> fmt::Result {
    let decision = &result.decision;
    let verdict = if decision.allowed { "Every gate lets it pass." } else { "**Not yet.**" };
    if decision.answers.is_empty() {
        return writeln!(f, "There are no gates.\n");
    }
    writeln!(f, "{verdict}\n\n| gate | | why | to pass |\n|---|---|---|---|")?;
    for answer in &decision.answers {
        let (mark, remedy) = match (&answer.overridden, answer.passed) {
            (Some(reason), _) => ("**overridden**", reason.as_str()),
            (None, true) => ("pass", ""),
            (None, false) => ("**refused**", answer.remedy.as_deref().unwrap_or_default()),
        };
        writeln!(
            f,
            "| {} | {mark} | {} | {} |",
            answer.gate.name(),
            markdown(&answer.text),
            markdown(remedy)
        )?;
    }
    writeln!(f)
}

/// What the applications say against it.
fn refusals(f: &mut fmt::Formatter<'_>, result: &PromotionResult) -> fmt::Result {
    let unready = result.applications.iter().filter(|app| !app.is_planned());
    for app in unready {
        let why = match (&app.report, &app.error) {
            (Some(report), _) => report.to_string(),
            (None, error) => error.clone().unwrap_or_default(),
        };
        writeln!(f, "**{}** says no:\n\n{}", markdown(&app.app), fenced("text", &why))?;
    }
    Ok(())
}

fn predictions(f: &mut fmt::Formatter<'_>, result: &PromotionResult) -> fmt::Result {
    if result.predictions.is_empty() {
        return Ok(());
    }
    writeln!(f, "<details><summary>What the manifests become, predicted</summary>\n")?;
    writeln!(
        f,
        "Argo CD renders stored values only: the old ones are replaced in what it renders now.\n"
    )?;
    let mut diff = String::new();
    for prediction in &result.predictions {
        for it in &prediction.differences {
            writeln!(diff, "# {}: {} {}", prediction.app, it.object, it.path)?;
            writeln!(diff, "- {}\n+ {}", one_line(&it.now), one_line(&it.then))?;
        }
        for gap in &prediction.gaps {
            writeln!(diff, "! {}: not predicted: {}: {}", prediction.app, gap.place, gap.what)?;
        }
    }
    if diff.is_empty() {
        diff.push_str("# nothing changes\n");
    }
    writeln!(f, "{}\n</details>\n", fenced("diff", &diff))
}
