//! What clients of Argo CD rely on, as raw HTTP: cases that run unchanged against the simulated and against the real
//! server, so that the simulation cannot drift from what it stands for.
//!
//! Each case makes applications of its own and removes them. A case must not know which server it talks to; where one
//! of them cannot be tried, it is skipped with the reason.

mod context;
mod looking;
mod objects;
mod operations;
mod patching;
mod reading;
mod rendering;
mod rights;
mod session;
mod watch;
mod writing;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

pub use context::Context;

use crate::Tokens;

/// A server under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// `simulated` or `real`: the column's head.
    pub name: String,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The password of `admin`.
    pub password: String,
    /// API tokens.
    pub tokens: Tokens,
    /// A folder of bare repositories that the server can read.
    pub git_root: PathBuf,
    /// The URL of that folder.
    pub git_root_url: String,
    /// Whether pods become ready although their images do not exist.
    pub fake_pods: bool,
}

type Running<'c> = Pin<Box<dyn Future<Output = Checked> + Send + 'c>>;

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, unique; words parted by spaces.
    pub name: &'static str,
    run: fn(&Context) -> Running<'_>,
}

/// How a case ended: what is not as expected is an error, and so is [`Skipped`].
type Checked = anyhow::Result<()>;

/// A case is not tried, and why.
#[derive(Debug)]
struct Skipped(&'static str);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Makes the list of a file's cases from its functions.
macro_rules! cases {
    ($($name:literal => $function:ident),* $(,)?) => {
        /// The cases of this file.
        pub(super) const CASES: &[$crate::cases::Case] = &[
            $($crate::cases::Case { name: $name, run: |context| Box::pin($function(context)) }),*
        ];
    };
}
use cases;

/// All cases, in the order of the table.
pub fn all() -> Vec<Case> {
    [
        session::CASES,
        reading::CASES,
        looking::CASES,
        objects::CASES,
        rights::CASES,
        patching::CASES,
        writing::CASES,
        operations::CASES,
        rendering::CASES,
        watch::CASES,
    ]
    .concat()
}

/// One cell of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// As expected.
    Passed,
    /// Not tried, and why.
    Skipped(String),
    /// Not as expected, and how.
    Failed(String),
}

/// The longest time that one case may take.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs the cases whose name contains `filter` against `target`, `jobs` at a time. `told` is called at each end.
///
/// # Errors
/// The fixture could not be pushed to the target's git folder.
pub async fn run(
    target: &Target,
    filter: &str,
    jobs: usize,
    told: impl Fn(&str, &Cell, Duration),
) -> anyhow::Result<BTreeMap<&'static str, Cell>> {
    let shared = Arc::new(context::Shared::prepare(target.clone()).await?);
    let chosen = all().into_iter().filter(|case| case.name.contains(filter));
    let running = chosen.map(|case| {
        let shared = shared.clone();
        async move {
            let began = Instant::now();
            (case.name, run_one(case, shared).await, began.elapsed())
        }
    });
    let mut cells = BTreeMap::new();
    let mut ends = stream::iter(running).buffer_unordered(jobs.max(1));
    while let Some((name, cell, took)) = ends.next().await {
        told(name, &cell, took);
        cells.insert(name, cell);
    }
    shared.remove_repository();
    Ok(cells)
}

async fn run_one(case: Case, shared: Arc<context::Shared>) -> Cell {
    let context = Context::new(shared, case.name);
    let ended = tokio::time::timeout(LIMIT, (case.run)(&context)).await;
    let cleaned = context.clean().await;
    match (ended, cleaned) {
        (Ok(Ok(())), Ok(())) => Cell::Passed,
        (Ok(Ok(())), Err(error)) => Cell::Failed(format!("cleaning up: {error:#}")),
        (Ok(Err(error)), _) if error.is::<Skipped>() => Cell::Skipped(error.to_string()),
        (Ok(Err(error)), _) => Cell::Failed(format!("{error:#}")),
        (Err(_), _) => Cell::Failed(format!("not done after {} s", LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = super::all().iter().map(|case| case.name).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
        assert!(names.len() >= 60, "{} cases", names.len());
    }
}
