//! Waits until the gates are open, if they may open: looks at everything again and again, with the locks and vetoes of that
//! moment, and ends when the release may enter, when waiting is in vain, or when the time is over.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use verbatim_console::{ExitStatus, Failure};
use verbatim_policy::{AwaitedGate, NextLook, Outlook, next_look};

use super::PromotionContext;
use super::decide::Decided;

/// How long to wait between two looks. Each costs a list of Argo CD and the listings of the registry.
const PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// How long nothing is said if nothing changes.
const TELL: Duration = Duration::from_secs(60);

/// What is waited for.
struct GateWait<'a> {
    environment: &'a str,
    gates: &'a [AwaitedGate],
    deadline: Timestamp,
}

impl fmt::Display for GateWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, gates, deadline } = self;
        let gates: Vec<String> = gates.iter().map(ToString::to_string).collect();
        write!(f, "waiting for {} of {environment}, until {deadline:.0} at most", gates.join(", "))
    }
}

impl PromotionContext<'_> {
    /// The answer of the gates, asked again as long as `wait_for_gates` allows and all that refuse may open. A service that
    /// is away for a moment ends no wait that has begun.
    pub(super) async fn decided_in_time(
        &self,
        mut decide: impl AsyncFnMut() -> Result<Decided, Failure>,
    ) -> Result<Decided, Failure> {
        let limit = self.deploy.wait_for_gates;
        let mut decided = decide().await?;
        if limit.is_zero() {
            return Ok(decided);
        }
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        let begun = Timestamp::now();
        let deadline = begun.saturating_add(limit).unwrap_or(Timestamp::MAX);
        let environment = self.environment.id.to_string();
        let mut told: Option<(Vec<AwaitedGate>, Instant)> = None;
        loop {
            let now = Timestamp::now();
            let gates = match decided.outlook() {
                Outlook::Awaited(gates) => gates,
                Outlook::Open | Outlook::Closed => return Ok(decided),
            };
            let NextLook::At(next) = next_look(&gates, PAUSE, now, deadline) else {
                let wait = GateWait { environment: &environment, gates: &gates, deadline };
                return Ok(decided.noting([not_open(&wait, begun, now)]));
            };
            let is_news = told
                .as_ref()
                .is_none_or(|(gates_told, at)| *gates_told != gates || at.elapsed() >= TELL);
            if is_news {
                let wait = GateWait { environment: &environment, gates: &gates, deadline };
                self.console.status(wait.to_string());
                told = Some((gates, Instant::now()));
            }
            sleep(next.duration_since(now).try_into().unwrap_or_default()).await;
            decided = loop {
                match decide().await {
                    Err(failure) if failure.status == ExitStatus::Unreachable => {
                        if Timestamp::now() >= deadline {
                            return Err(failure);
                        }
                        self.console.warn(format!("still waiting: {}", failure.whole()));
                        sleep(PAUSE.try_into().unwrap_or_default()).await;
                    }
                    decided => break decided?,
                }
            };
        }
    }
}

/// Why the wait is over.
fn not_open(wait: &GateWait<'_>, begun: Timestamp, now: Timestamp) -> String {
    let GateWait { gates, deadline, .. } = wait;
    let late = gates.iter().filter_map(|it| it.opens).max().filter(|opens| opens > deadline);
    match late {
        Some(opens) => format!(
            "not waited for: no release may enter before {opens:.0}, and the wait ends at {deadline:.0}"
        ),
        None => {
            let waited = SignedDuration::from_secs(now.duration_since(begun).as_secs());
            format!("waited {waited:#}; the gates that refuse are still closed")
        }
    }
}
