//! Whether the next run can go on from what ended runs have left: finish, or undo.

use std::collections::BTreeSet;

use super::super::run::{Ending, Run, RunSetup};
use super::{Other, Step, World};

impl World {
    /// Why the next run cannot finish or undo what the ended ones left.
    pub(super) fn cannot_go_on(&self) -> Option<String> {
        let next = u8::try_from(self.runs.len()).unwrap();
        let mut world = self.after(RunSetup::next());
        for _ in 0..200 {
            let mut steps = world.controlled();
            if steps.is_empty() {
                steps = world.requests.first().map_or_else(Vec::new, |request| {
                    let mut after = world.clone();
                    let request = *request;
                    after.requests.remove(0);
                    after.carry_out(request);
                    vec![(Step::Writes(request.run), after)]
                });
            }
            if steps.is_empty() {
                steps = Run::next(&world, next)
                    .into_iter()
                    .filter(|(step, _)| step.is_undisturbed())
                    .map(|(step, world)| (Step::Run(next, step), world))
                    .collect();
            }
            let Some((_, after)) = steps.pop() else { break };
            world = after;
        }
        let run = &world.runs[usize::from(next)];
        if let Some(broken) = &run.broken {
            return Some(format!("the next run: {broken}"));
        }
        if run.ending() != Some(Ending::Proven) {
            return Some(format!("the next run ends as {:?} in {:?}", run.ending(), run.at));
        }
        // Who wipes a claim takes the knowledge of what it wrote, too.
        if self.fixed.setup.others.contains(&Other::Set) {
            return None;
        }
        let source = world.source();
        let runs = || self.runs.iter().zip(&self.fixed.setup.runs);
        let proven = runs().filter(|(run, _)| run.was_proven).flat_map(|(_, setup)| setup.values);
        let next = RunSetup::next().values.iter();
        let known: BTreeSet<_> = proven.chain(next).collect();
        let left = runs().flat_map(|(_, setup)| setup.values).find(|value| {
            !known.contains(value) && world.parameter(source, value.0).as_deref() == Some(value.1)
        });
        left.map(|(name, value)| format!("{name}={value} of a run without proof stays"))
    }
}
