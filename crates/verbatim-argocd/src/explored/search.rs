//! Breadth-first search over the states of a world: every order of steps, the shortest way to a broken promise first.

use std::collections::{HashSet, VecDeque};
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A world that can be explored.
pub(super) trait Explorable: Clone + Hash {
    type Step: Copy + Display;

    /// Everything that can happen next.
    fn next(&self) -> Vec<(Self::Step, Self)>;

    /// A promise that this state breaks.
    fn broken(&self) -> Option<String>;
}

/// What an exploration found.
#[derive(Debug)]
pub(super) struct Explored {
    pub states: usize,
    /// States in which nothing can happen any more.
    pub ends: usize,
    /// The broken promise, with the shortest way to it.
    pub broken: Option<Broken>,
}

#[derive(Debug)]
pub(super) struct Broken {
    pub promise: String,
    pub steps: Vec<String>,
}

/// Explores all states that can be reached from one, until a promise is broken.
///
/// Two states are taken for one if 128 bits of their hashes are equal.
pub(super) fn explore<W: Explorable>(start: W) -> Explored {
    let mut seen = HashSet::from([fingerprint(&start)]);
    let mut ways: Vec<(usize, Option<W::Step>)> = vec![(0, None)];
    let mut ends = 0;
    let mut queue = VecDeque::from([(0, start)]);
    while let Some((at, world)) = queue.pop_front() {
        if let Some(promise) = world.broken() {
            let broken = Some(Broken { promise, steps: way(&ways, at) });
            return Explored { states: ways.len(), ends, broken };
        }
        let next = world.next();
        ends += usize::from(next.is_empty());
        for (step, world) in next {
            if seen.insert(fingerprint(&world)) {
                queue.push_back((ways.len(), world));
                ways.push((at, Some(step)));
            }
        }
    }
    Explored { states: ways.len(), ends, broken: None }
}

fn fingerprint(world: &impl Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn way<S: Display>(ways: &[(usize, Option<S>)], mut at: usize) -> Vec<String> {
    let mut steps = Vec::new();
    while let (before, Some(step)) = &ways[at] {
        steps.push(step.to_string());
        at = *before;
    }
    steps.reverse();
    steps
}
