//! The journal: which steps of a command are done, under way, or not begun. Told when a command is cut short.

use serde::Serialize;

/// One step of a command, as it is told when the command ends early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What the step does, in words that fit behind "done:" and "not done:".
    pub name: String,
    /// How far it came.
    pub state: StepState,
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun: nothing was changed by it.
    NotDone,
    /// Begun and not ended: its effect may be there or not.
    UnderWay,
    /// Done.
    Done,
}

impl StepState {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NotDone => "not done",
            Self::UnderWay => "under way, may have taken effect",
            Self::Done => "done",
        }
    }
}

/// The steps of the running command.
#[derive(Debug, Default)]
pub(crate) struct Journal(Vec<Step>);

impl Journal {
    pub(crate) fn plan<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) {
        self.0.extend(
            names.into_iter().map(|name| Step { name: name.into(), state: StepState::NotDone }),
        );
    }

    /// Sets the state of the step with this name; adds the step if it was not planned.
    pub(crate) fn set(&mut self, name: &str, state: StepState) {
        match self.0.iter_mut().find(|step| step.name == name) {
            Some(step) => step.state = state,
            None => self.0.push(Step { name: name.to_owned(), state }),
        }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_their_order_and_last_state() {
        let mut journal = Journal::default();
        journal.plan(["write", "sync"]);
        journal.set("write", StepState::UnderWay);
        journal.set("write", StepState::Done);
        journal.set("undo", StepState::Done);
        let states: Vec<_> =
            journal.steps().iter().map(|step| (step.name.as_str(), step.state)).collect();
        assert_eq!(
            states,
            [("write", StepState::Done), ("sync", StepState::NotDone), ("undo", StepState::Done)]
        );
    }
}
