//! `verbatim explain`: what an exit status, a gate or a word means, from the tables of the documentation.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};

const EXAMPLES: &str = "\
Examples:
  verbatim explain          list everything that can be explained
  verbatim explain 5        an exit status, by its number or word
  verbatim explain soak     a gate
  verbatim explain claim    a word";

/// The page of gates, and the map with the words: what people read is what is printed.
const GATES: &str = include_str!("../../../../docs/gates.md");
const WORDS: &str = include_str!("../../../../ARCHITECTURE.md");

/// Explain an exit status, a gate or a word
///
/// Needs no configuration and no network.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// The number or word of an exit status, the name of a gate, or a word
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum TopicKind {
    ExitStatus,
    Gate,
    Word,
}

/// Something that can be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Topic {
    name: String,
    kind: TopicKind,
    /// The number of an exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    meaning: String,
    /// What a pipeline should do about an exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Serialize)]
struct Topics {
    topics: Vec<Topic>,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.status) {
            (TopicKind::ExitStatus, Some(status)) => {
                writeln!(f, "exit status {status}, {}", self.name)?
            }
            (TopicKind::Gate, _) => writeln!(f, "gate {}: passes if", self.name)?,
            (_, _) => writeln!(f, "{}", self.name)?,
        }
        let text = wrapped(self.meaning.split_whitespace());
        text.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        match (&self.advice, self.kind) {
            (Some(advice), _) => writeln!(f, "  a pipeline should: {advice}"),
            (None, TopicKind::Gate) => writeln!(f, "  more: docs/gates.md"),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, heading) in [
            (TopicKind::ExitStatus, "exit statuses"),
            (TopicKind::Gate, "gates"),
            (TopicKind::Word, "words"),
        ] {
            let names = self.topics.iter().filter(|topic| topic.kind == kind).map(|topic| {
                let status = topic.status.map(|status| format!("{status} "));
                format!("{}{}", status.unwrap_or_default(), topic.name)
            });
            writeln!(f, "{heading}:")?;
            let mut names: Vec<String> = names.map(|name| name + ",").collect();
            names.last_mut().map(String::pop);
            wrapped(names.iter().map(String::as_str))
                .iter()
                .try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}

pub(crate) fn run(args: &ExplainArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let topics = topics();
    let Some(wanted) = &args.topic else {
        console.result(&Topics { topics })?;
        return Ok(ExitStatus::Done);
    };
    match found(&topics, wanted) {
        Some(topic) => console.result(topic)?,
        None => {
            return Err(Failure::usage(format!("nothing here is called `{wanted}`"))
                .hint("verbatim explain lists everything that can be explained"));
        }
    }
    Ok(ExitStatus::Done)
}

fn found<'a>(topics: &'a [Topic], wanted: &str) -> Option<&'a Topic> {
    let wanted = wanted.trim().to_lowercase().replace('-', "_");
    topics.iter().find(|topic| {
        topic.name == wanted || topic.status.is_some_and(|status| status.to_string() == wanted)
    })
}

fn topics() -> Vec<Topic> {
    let statuses = ExitStatus::ALL.into_iter().map(|status| Topic {
        name: status.name().to_owned(),
        kind: TopicKind::ExitStatus,
        status: Some(status.code()),
        meaning: status.meaning().to_owned(),
        advice: Some(status.advice().to_owned()),
    });
    let of_table = |kind, document, heading| {
        rows(document, heading).into_iter().map(move |(name, meaning)| Topic {
            name,
            kind,
            status: None,
            meaning,
            advice: None,
        })
    };
    let gates = of_table(TopicKind::Gate, GATES, "| gate | passes if |");
    let words = of_table(TopicKind::Word, WORDS, "| word | meaning |");
    statuses.chain(gates).chain(words).collect()
}

/// The rows of a table of two columns in Markdown, as plain text.
fn rows(document: &str, heading: &str) -> Vec<(String, String)> {
    let lines = document.lines().skip_while(|line| *line != heading).skip(2);
    let rows = lines.take_while(|line| line.starts_with("| ")).filter_map(|line| {
        let (name, meaning) = line.trim_matches('|').split_once(" | ")?;
        Some((name.trim().trim_matches('`').to_owned(), without_links(meaning.trim())))
    });
    rows.collect()
}

/// Text with the words of links, and without their targets.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        match link.split_once("](").and_then(|(words, more)| Some((words, more.split_once(')')?.1)))
        {
            Some((words, more)) => {
                plain.push_str(words);
                rest = more;
            }
            None => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain + rest
}

/// Words in lines that fit 80 columns with their indent.
fn wrapped<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    const WIDTH: usize = 76;
    let mut lines = vec![String::new()];
    for word in words {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use verbatim_policy::GateKind;

    use super::*;

    #[test]
    fn every_status_and_every_gate_is_explained() {
        let topics = topics();
        for status in ExitStatus::ALL {
            let topic = found(&topics, &status.code().to_string()).unwrap();
            assert_eq!(topic.name, status.name());
            assert_eq!(found(&topics, status.name()), Some(topic));
        }
        for gate in GateKind::ALL {
            let topic = found(&topics, gate.name());
            assert!(topic.is_some_and(|it| it.kind == TopicKind::Gate), "{}", gate.name());
        }
        for word in ["digest", "claim", "Same-Manifests"] {
            assert!(found(&topics, word).is_some(), "{word}");
        }
        assert_eq!(found(&topics, "nothing"), None);
        let links = topics.iter().filter(|topic| topic.meaning.contains("]("));
        assert_eq!(links.count(), 0);
    }

    #[test]
    fn an_explanation_fits_a_terminal() {
        let topics = topics();
        insta::assert_snapshot!(found(&topics, "5").unwrap(), @r"
        exit status 5, conflict
          conflict: somebody else changed it
          a pipeline should: look, then run again
        ");
        insta::assert_snapshot!(found(&topics, "soak").unwrap(), @r"
        gate soak: passes if
          the release has been there, and healthy, for this long. The time counts from
          its promotion, from its build, or from the time that Argo CD reports,
          whichever is latest
          more: docs/gates.md
        ");
        insta::assert_snapshot!(found(&topics, "claim").unwrap(), @r"
        claim
          the annotation on an application that says who is changing it, and what was
          there before
        ");
        let all = Topics { topics }.to_string();
        assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
    }
}
