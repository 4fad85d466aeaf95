//! What is still missing while a run waits, and when it ends too early. Written as one sentence in JSON.

use std::fmt;

use serde::Serialize;

use crate::judge::condition::UnmetCondition;
use crate::judge::mismatch::Mismatch;
use crate::judge::outcome::UndoFailure;
use crate::judge::verdict::MissingState;

/// What is still missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is known to be: the run ended before the first state was judged.
    Unknown,
    /// A state of the application.
    State(MissingState),
    /// The proof of one workload.
    Proof(Mismatch),
    /// The time for which the proof has to hold.
    Hold,
    /// An answer of the server that may come later.
    Answer(String),
    /// Conditions that were asked for.
    Conditions(Vec<UnmetCondition>),
    /// A resource that the application does not have.
    Resource,
    /// The end of the operation that was started.
    OperationEnd,
    /// The operation slot, which another operation holds.
    OperationSlot,
    /// What has to be known before anything is written.
    Preconditions,
    /// Whether the values were written.
    WriteAnswer,
    /// The previous values: they could not be put back.
    PreviousValues(UndoFailure),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::State(state) => state.fmt(f),
            Self::Proof(mismatch) => mismatch.fmt(f),
            Self::Hold => f.write_str("the proof has to hold"),
            Self::Answer(why) => f.write_str(why),
            Self::Conditions(unmet) => {
                let unmet: Vec<_> = unmet.iter().map(ToString::to_string).collect();
                f.write_str(&unmet.join("; "))
            }
            Self::Resource => f.write_str("the application has no such resource"),
            Self::OperationEnd => f.write_str("the end of the operation"),
            Self::OperationSlot => f.write_str("another operation holds the application"),
            Self::Preconditions => {
                f.write_str("the answers that are needed before anything is written")
            }
            Self::WriteAnswer => f.write_str("whether the values were written"),
            Self::PreviousValues(why) => write!(f, "cannot put the previous values back: {why}"),
        }
    }
}

impl Serialize for Missing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
