//! The journal: which steps of a command are done, in progress or not begun. Printed when a command ends early.

use serde::Serialize;

/// One step of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What the step does, in words that fit after "done:" and "not done:".
    pub name: String,
    /// How far it has come.
    pub state: StepState,
    /// The step that this is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun: nothing was changed by it.
    NotDone,
    /// Begun and not ended: it may have taken effect.
    UnderWay,
    /// Done.
    Done,
}

impl StepState {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NotDone => "not done",
            Self::UnderWay => "in progress, may have taken effect",
            Self::Done => "done",
        }
    }
}

/// The steps of the running command.
#[derive(Debug, Default)]
pub(crate) struct Journal(Vec<Step>);

impl Journal {
    pub(crate) fn plan<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) {
        self.0.extend(names.into_iter().map(|name| Step {
            name: name.into(),
            state: StepState::NotDone,
            within: None,
        }));
    }

    /// Sets the state of the step with this name; adds the step if it was not planned.
    pub(crate) fn set(&mut self, name: &str, state: StepState) {
        let place = self.0.len();
        self.set_at(place, name, None, state);
    }

    /// Sets the state of a part of a step. Parts become known as they begin, so each is inserted after its step.
    pub(crate) fn set_within(&mut self, step: &str, name: &str, state: StepState) {
        let last =
            self.0.iter().rposition(|it| it.name == step || it.within.as_deref() == Some(step));
        let place = last.map_or(self.0.len(), |last| last + 1);
        self.set_at(place, name, Some(step), state);
    }

    fn set_at(&mut self, place: usize, name: &str, within: Option<&str>, state: StepState) {
        let is_it = |step: &&mut Step| step.name == name && step.within.as_deref() == within;
        match self.0.iter_mut().find(is_it) {
            Some(step) => step.state = state,
            None => {
                let within = within.map(ToOwned::to_owned);
                self.0.insert(place, Step { name: name.to_owned(), state, within });
            }
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

    #[test]
    fn parts_are_told_behind_their_step() {
        let mut journal = Journal::default();
        journal.plan(["deploy a", "deploy b", "record"]);
        for (step, name) in [("b", "read"), ("a", "read"), ("b", "write"), ("a", "write")] {
            journal.set_within(&format!("deploy {step}"), name, StepState::UnderWay);
        }
        journal.set_within("deploy a", "read", StepState::Done);
        let told: Vec<_> = journal.steps().iter().map(|step| step.name.as_str()).collect();
        assert_eq!(told, ["deploy a", "read", "write", "deploy b", "read", "write", "record"]);
        let done: Vec<_> =
            journal.steps().iter().filter(|it| it.state == StepState::Done).collect();
        assert_eq!((done.len(), done[0].within.as_deref()), (1, Some("deploy a")));
    }
}
