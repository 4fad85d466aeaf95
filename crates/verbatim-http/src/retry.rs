//! Whether, and when, a failed call is made again. Time spent and chance are arguments; which failures are worth another
//! attempt is for the client of a service to say.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;

/// How often, and for how long, a failed call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a call is made, the first included.
    pub attempts: u32,
    /// The wait before the second attempt; doubled before each further one.
    pub first_wait: Duration,
    /// The longest single wait. A service that asks for more is not waited for.
    pub longest_wait: Duration,
    /// How long all attempts and waits of one call may take together; a wait that would end later is not begun.
    pub budget: Duration,
}

impl RetryPolicy {
    /// How long to wait before the next attempt, after `attempts` of them took `spent`; `None` to give up. `asked` is what
    /// a `Retry-After` asks for; `chance` is as in [`RetryPolicy::wait_after`].
    pub fn wait_before_next(
        &self,
        attempts: u32,
        spent: Duration,
        asked: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        // The service knows better, but it does not get to keep us for an hour.
        if attempts >= self.attempts || asked.is_some_and(|asked| asked > self.longest_wait) {
            return None;
        }
        let wait = self.wait_after(attempts, chance).max(asked.unwrap_or_default());
        (spent + wait <= self.budget).then_some(wait)
    }

    /// The wait after `attempts` attempts. `chance`, in 0..=1, takes up to half of it away, so that many clients that
    /// failed at the same moment do not come back at the same moment.
    pub fn wait_after(&self, attempts: u32, chance: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let full = self.first_wait.saturating_mul(1 << doublings);
        full.mul_f64(0.5 + chance / 2.0).min(self.longest_wait)
    }
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
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 4,
        first_wait: Duration::from_millis(200),
        longest_wait: Duration::from_secs(30),
        budget: Duration::from_secs(60),
    };

    #[test]
    fn waits_grow_within_the_budget() {
        let cases = [
            // attempts, seconds spent, seconds asked for, chance, wait in ms
            (1, 0, None, 1.0, Some(200)),
            (1, 0, None, 0.0, Some(100)),
            (2, 0, None, 1.0, Some(400)),
            (3, 0, None, 1.0, Some(800)),
            (4, 0, None, 1.0, None),
            (1, 60, None, 1.0, None),
            (1, 0, Some(7), 1.0, Some(7000)),
            (1, 0, Some(0), 1.0, Some(200)),
            (1, 0, Some(30), 1.0, Some(30_000)),
            (1, 0, Some(31), 1.0, None),
            (1, 40, Some(30), 1.0, None),
            (4, 0, Some(1), 1.0, None),
        ];
        for (attempts, spent, asked, chance, want) in cases {
            let (spent, asked) = (Duration::from_secs(spent), asked.map(Duration::from_secs));
            let got = POLICY.wait_before_next(attempts, spent, asked, chance);
            let millis = got.map(|wait| wait.as_millis());
            assert_eq!(millis, want, "{attempts} {spent:?} {asked:?} {chance}");
        }
        assert_eq!(POLICY.wait_after(u32::MAX, 1.0), POLICY.longest_wait);
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
