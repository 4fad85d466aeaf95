//! Decides after each failed attempt at a write whether it is sent again, and how. Pure.

use std::time::Duration;

use crate::api::error::ErrorKind;

/// How often a change is sent: against writers of other values, and against proxies that are down for a moment.
const ATTEMPTS: u32 = 4;

/// How often, where the only fault was that the application is a newer version by now: nothing happened then, and a
/// controller at work makes one with every step.
const VERSIONS: u32 = 20;

/// Pause before a change is sent again, times the attempt.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a change may be made to an application that does not render.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unrendered {
    Refuse,
    /// It deploys nothing new, so it does not have to be validated.
    Replace,
}

/// One change that is being sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sending {
    unrendered: Unrendered,
    attempt: u32,
    in_doubt: bool,
    again: bool,
    replace: bool,
}

impl Sending {
    pub(crate) fn new(unrendered: Unrendered) -> Self {
        Self { unrendered, attempt: 1, in_doubt: false, again: false, replace: false }
    }

    /// Notes how the last attempt failed. The application is to be read then: the write may have been done all the same.
    pub(crate) fn failed(&mut self, kind: &ErrorKind) {
        self.in_doubt |= !kind.nothing_happened();
        self.replace = self.unrendered == Unrendered::Replace && is_unrendered(kind);
        let attempts = if let ErrorKind::Outdated = kind { VERSIONS } else { ATTEMPTS };
        self.again = self.attempt < attempts && (may_pass(kind) || self.replace);
    }

    /// How long to wait before the application is read.
    pub(crate) fn pause(&self) -> Option<Duration> {
        (self.again || self.in_doubt).then(|| PAUSE * self.attempt.min(ATTEMPTS))
    }

    /// Whether an attempt may have been done, or may be done yet, without an answer.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether the next attempt replaces the object, since the server refuses every patch.
    pub(crate) fn replaces(&self) -> bool {
        self.replace
    }

    /// Goes on to the next attempt, if there is one.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.attempt += u32::from(self.again);
        self.again
    }
}

/// Whether the same change, made from a newer state, may be taken a moment later.
fn may_pass(kind: &ErrorKind) -> bool {
    use ErrorKind::{Outdated, TestFailed, TooManyConflicts};
    let is_conflict = matches!(kind, TestFailed(_) | TooManyConflicts | Outdated);
    is_conflict || !kind.nothing_happened() || kind.is_transient()
}

/// Whether the server refuses a patch because it cannot render the manifests, whatever the patch changes.
fn is_unrendered(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DoesNotRender(_) | ErrorKind::RepoUnreachable(_) | ErrorKind::RepoRefused(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_sent_again_where_that_can_help() {
        let conflict = || ErrorKind::TestFailed("t".into());
        let lost = || ErrorKind::Timeout(Duration::from_secs(1));
        let unrendered = || ErrorKind::DoesNotRender("r".into());
        let denied = || ErrorKind::PermissionDenied("d".into());
        // What fails, whether it may be replaced; again, replaced, in doubt.
        let cases = [
            (conflict(), Unrendered::Refuse, (true, false, false)),
            (lost(), Unrendered::Refuse, (true, false, true)),
            (unrendered(), Unrendered::Refuse, (false, false, false)),
            (unrendered(), Unrendered::Replace, (true, true, false)),
            (denied(), Unrendered::Replace, (false, false, false)),
        ];
        for (kind, may_replace, want) in cases {
            let mut sending = Sending::new(may_replace);
            sending.failed(&kind);
            let got = (sending.goes_on(), sending.replaces(), sending.is_in_doubt());
            assert_eq!(got, want, "{kind:?}");
        }
    }

    #[test]
    fn attempts_end_and_a_doubt_stays() {
        let mut sending = Sending::new(Unrendered::Refuse);
        sending.failed(&ErrorKind::Timeout(Duration::from_secs(1)));
        let mut attempts = 1;
        while sending.goes_on() {
            attempts += 1;
            sending.failed(&ErrorKind::TestFailed("t".into()));
        }
        assert_eq!((attempts, sending.is_in_doubt()), (ATTEMPTS, true));
    }
}
