//! The clock of a server beside that of this machine: every answer says what time it is there.

use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::{AGE, DATE};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

/// A `Date` has whole seconds.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// What two clocks showed at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The time of this machine.
    pub ours: Timestamp,
    /// The time of the server.
    pub theirs: Timestamp,
}

impl ClockReading {
    /// The reading of an answer to a request that was sent and answered at these times of this machine. The server wrote its
    /// time somewhere in between, so clocks that may agree do. `None` for an answer without a time, and for one out of a
    /// cache, which has the time at which it was stored.
    pub fn of(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Option<Self> {
        if headers.contains_key(AGE) {
            return None;
        }
        let text = headers.get(DATE)?.to_str().ok()?;
        let theirs = DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
        let end = theirs.checked_add(STEP).ok()?;
        let ours = match () {
            () if theirs > received => received,
            () if end < sent => sent,
            () => theirs,
        };
        Some(Self { ours, theirs })
    }

    /// How far the server's clock is ahead of ours.
    pub fn ahead(&self) -> SignedDuration {
        self.theirs.duration_since(self.ours)
    }
}

/// The last reading of one server's clock.
#[derive(Debug, Default)]
pub struct ServerClock(Mutex<Option<ClockReading>>);

impl ServerClock {
    /// Takes the reading of an answer, if it has one.
    pub fn note(&self, headers: &HeaderMap, sent: Timestamp) {
        if let Some(reading) = ClockReading::of(headers, sent, Timestamp::now()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        }
    }

    /// The last reading; `None` before the first answer.
    pub fn reading(&self) -> Option<ClockReading> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_may_agree_do() {
        let at = |text: &str| -> Timestamp { format!("2026-11-28T{text}Z").parse().unwrap() };
        let date = |time: &str| format!("Sat, 28 Nov 2026 {time} GMT");
        let cases = [
            // Of an answer that took half a minute, nobody knows when it was written.
            ("10:00:00", "10:00:00.5", "10:00:30", Some(0)),
            ("10:00:29", "10:00:00.5", "10:00:30", Some(0)),
            // The whole second of a moment ago.
            ("10:00:00", "10:00:00.9", "10:00:00.95", Some(0)),
            ("10:02:00", "10:00:00", "10:00:01", Some(119)),
            ("09:58:00", "10:00:00", "10:00:01", Some(-120)),
        ];
        for (theirs, sent, received, want) in cases {
            let headers = HeaderMap::from_iter([(DATE, date(theirs).parse().unwrap())]);
            let reading = ClockReading::of(&headers, at(sent), at(received));
            assert_eq!(reading.map(|it| it.ahead().as_secs()), want, "{theirs} {sent} {received}");
        }
        let now = at("10:00:00");
        let mut headers = HeaderMap::new();
        assert_eq!(ClockReading::of(&headers, now, now), None);
        headers.insert(DATE, "yesterday".parse().unwrap());
        assert_eq!(ClockReading::of(&headers, now, now), None);
        headers.insert(DATE, date("09:00:00").parse().unwrap());
        assert!(ClockReading::of(&headers, now, now).is_some());
        headers.insert(AGE, "3600".parse().unwrap());
        assert_eq!(ClockReading::of(&headers, now, now), None, "out of a cache");
    }
}
