//! A decision as text for people: short, or with every gate. Changes no word of what a gate said.

use std::fmt;

use verbatim_oci::Digest;

use crate::decision::{Decision, GateAnswer};

/// A decision whose text has every gate; made by [`Decision::in_full`].
#[derive(Debug, Clone, Copy)]
pub struct FullDecision<'a>(&'a Decision);

impl Decision {
    /// The decision with every gate and whole digests, where its own text only counts the gates that pass.
    pub fn in_full(&self) -> FullDecision<'_> {
        FullDecision(self)
    }
}

/// What refuses or was overridden, at length; what passes, as a number.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, shown): (Vec<_>, Vec<_>) = self.answers.iter().partition(|it| it.passed);
        write(f, self, shown, Digest::short)?;
        match passed.len() {
            0 => Ok(()),
            1 => writeln!(f, "  1 gate passed"),
            passed => writeln!(f, "  {passed} gates passed"),
        }
    }
}

impl fmt::Display for FullDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, self.0.answers.iter().collect(), Digest::to_string)
    }
}

fn write(
    f: &mut fmt::Formatter<'_>,
    decision: &Decision,
    answers: Vec<&GateAnswer>,
    name: impl Fn(&Digest) -> String,
) -> fmt::Result {
    let verdict = if decision.allowed { "may enter" } else { "may not enter" };
    writeln!(f, "{} {verdict} {}", decision.release, decision.environment)?;
    if decision.answers.is_empty() {
        writeln!(f, "  no gates")?;
    }
    let marks = answers.iter().map(|it| mark(it).len()).max().unwrap_or(0).max(7);
    let names = answers.iter().map(|it| it.gate.name().len()).max().unwrap_or(0).max(12);
    for answer in answers {
        let (mark, gate) = (mark(answer), answer.gate.name());
        writeln!(f, "  {mark:<marks$}  {gate:<names$}  {}", answer.text)?;
        for evidence in &answer.evidence {
            write!(f, "             - {}", evidence.text)?;
            match &evidence.record {
                Some(record) => writeln!(f, " (record {})", name(record))?,
                None => writeln!(f)?,
            }
        }
        if let Some(reason) = &answer.overridden {
            writeln!(f, "             overridden: {reason}")?;
        } else if let Some(remedy) = &answer.remedy {
            writeln!(f, "             to pass: {remedy}")?;
        }
    }
    Ok(())
}

fn mark(answer: &GateAnswer) -> &'static str {
    match (&answer.overridden, answer.passed) {
        (Some(_), _) => "overridden",
        (None, true) => "pass",
        (None, false) => "refused",
    }
}
