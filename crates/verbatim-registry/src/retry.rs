//! Whether, and when, a failed call is made again. Pure: time spent and chance are arguments.
//!
//! What is worth another attempt is for the caller to say; the Docker Engine is asked again by the same rules.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;

use crate::{ErrorKind, RetryPolicy};

impl RetryPolicy {
    /// How long to wait before the next attempt, after `attempts` of them took `spent`; `None` to give up. `asked` is what
    /// a `Retry-After` asks for. `chance` is in 0..=1 and spreads the waits of many clients that failed at the same moment.
    pub fn wait_before_next(
        &self,
        attempts: u32,
        spent: Duration,
        asked: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        if attempts >= self.attempts {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(16);
        let own = self.first_wait.saturating_mul(1 << doublings).mul_f64(0.5 + chance / 2.0);
        let wait = match asked {
            // The service knows better, but it does not get to keep us for an hour.
            Some(asked) if asked > self.longest_wait => return None,
            Some(asked) => asked.max(own),
            None => own.min(self.longest_wait),
        };
        (spent + wait <= self.budget).then_some(wait)
    }
}

/// As [`RetryPolicy::wait_before_next`], for a failure of this kind.
pub(crate) fn wait_before_next(
    policy: &RetryPolicy,
    attempts: u32,
    spent: Duration,
    kind: &ErrorKind,
    chance: f64,
) -> Option<Duration> {
    if !kind.is_retryable() {
        return None;
    }
    policy.wait_before_next(attempts, spent, kind.retry_after(), chance)
}

/// What `Retry-After` asks for: seconds, or a date, which is counted from the `Date` of the same answer. Our own clock
/// may be wrong, and is not asked.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let parse = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    let now = parse(headers.get(DATE)?.to_str().ok()?.trim())?;
    // A date that has passed means at once.
    Some(parse(text)?.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

/// A number in 0..1 that differs between processes and between calls; nothing secret depends on it.
pub fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::{Cause, Refusal};

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 4,
        first_wait: Duration::from_millis(200),
        longest_wait: Duration::from_secs(30),
        budget: Duration::from_secs(60),
    };

    fn answered(status: u16, retry_after: Option<u64>) -> ErrorKind {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal::read(status, b"");
        ErrorKind::of_status(status, refusal, retry_after.map(Duration::from_secs))
    }

    #[test]
    fn waits_grow_within_the_budget() {
        let broken = || ErrorKind::Unreachable(Cause("reset".into()));
        let cases = [
            // attempts, seconds spent, kind, chance, wait in ms
            (1, 0, broken(), 1.0, Some(200)),
            (1, 0, broken(), 0.0, Some(100)),
            (2, 0, broken(), 1.0, Some(400)),
            (3, 0, broken(), 1.0, Some(800)),
            (4, 0, broken(), 1.0, None),
            (1, 60, broken(), 1.0, None),
            (1, 0, answered(503, None), 1.0, Some(200)),
            (1, 0, answered(429, Some(7)), 1.0, Some(7000)),
            (1, 0, answered(503, Some(7)), 1.0, Some(7000)),
            (1, 0, answered(429, Some(0)), 1.0, Some(200)),
            (1, 0, answered(429, Some(31)), 1.0, None),
            (1, 40, answered(429, Some(30)), 1.0, None),
            (1, 0, answered(404, Some(1)), 1.0, None),
            (1, 0, answered(401, None), 1.0, None),
            (1, 0, answered(501, None), 1.0, None),
            (1, 0, ErrorKind::Malformed("x".into()), 1.0, None),
        ];
        for (attempts, spent, kind, chance, want) in cases {
            let spent = Duration::from_secs(spent);
            let got = wait_before_next(&POLICY, attempts, spent, &kind, chance);
            let millis = got.map(|wait| wait.as_millis());
            assert_eq!(millis, want, "{attempts} {spent:?} {kind:?} {chance}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let cases = [
            (Some("120"), None, Some(120)),
            (Some(" 0 "), None, Some(0)),
            (Some("Wed, 21 Oct 2015 07:28:07 GMT"), Some(date), Some(7)),
            (Some("Wed, 21 Oct 2015 07:27:00 GMT"), Some(date), Some(0)),
            (Some("Wed, 21 Oct 2015 07:28:07 GMT"), None, None),
            (Some("soon"), Some(date), None),
            (Some("-1"), Some(date), None),
            (None, Some(date), None),
        ];
        for (after, date, want) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, after), (DATE, date)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(retry_after(&headers), want.map(Duration::from_secs), "{after:?}");
        }
    }

    #[test]
    fn chance_is_between_nought_and_one_and_varies() {
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance != chances[0]));
    }
}
