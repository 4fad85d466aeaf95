//! What a run of ours promises at its end, held against what really happened.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::judge::lost_changes::WriteAttempt;
use crate::judge::warning::DeployWarning;
use crate::model::Application;

use super::super::world::{Loss, Rule};
use super::{Actor, Ending};

impl Actor<'_> {
    /// A promise that an ending breaks.
    pub(super) fn broken_promise(&mut self, ending: Ending) -> Option<String> {
        let now = self.world.now();
        if ending == Ending::Proven {
            if !self.stands(now) {
                return Some("exit 0, and other values stand there".into());
            }
            let live = self.world.live;
            for (name, value) in self.setup().values {
                let found = self.world.parameter(live, name);
                if found.as_deref() != Some(*value) {
                    return Some(format!("exit 0, and {name}={found:?} runs"));
                }
            }
        }
        if ending == Ending::InDoubt {
            return None;
        }
        let told = self.told()?;
        let run = self.run;
        let lost: BTreeSet<(String, String)> = self
            .world
            .losses
            .iter()
            .filter(|loss| loss.run == run)
            .map(|Loss { path, value, .. }| (path.clone(), value.clone()))
            .collect();
        if let Some((path, value)) = lost.difference(&told).next() {
            return Some(format!("{path} = {value} of somebody else is gone, and not told"));
        }
        let (path, value) = told.difference(&lost).next()?;
        Some(format!("{path} = {value} is told as lost, and is not"))
    }

    /// What the run tells of the changes that it took back. `None`: the watch has not shown all, and it says so.
    fn told(&mut self) -> Option<BTreeSet<(String, String)>> {
        if !self.world.has(Rule::Telling) {
            return Some(BTreeSet::new());
        }
        let me = self.me().clone();
        if me.is_in_doubt || (!me.writes.is_empty() && me.shown < me.floor) {
            return None;
        }
        let mut told = BTreeSet::new();
        for write in me.writes {
            let seen: Vec<Rc<Application>> =
                (write.before + 1..=write.after).map(|version| self.world.app(version)).collect();
            let seen: Vec<&Application> = seen.iter().map(Rc::as_ref).collect();
            let expected = (*self.world.fixed.pool.value(write.expected)).clone();
            let attempt = WriteAttempt {
                before: (*self.world.app(write.before)).clone(),
                expected: serde_json::from_value(expected).unwrap(),
            };
            for warning in attempt.taken_back(&seen).unwrap_or_default() {
                if let DeployWarning::LostForeignChange { path, value } = warning {
                    told.insert((path, value));
                }
            }
        }
        Some(told)
    }
}
