//! Which request meets which fault. Pure: counting and matching, no network.

use std::fmt;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The connection is closed without a byte of an answer, and from then on nobody listens: connection refused.
    Unreachable,
    /// The connection is closed (FIN) without a byte of an answer.
    Close,
    /// The connection is reset (RST) without a byte of an answer.
    Reset,
    /// No byte of an answer; the connection stays open until the rules end.
    Stall,
    /// The request is held back for this many milliseconds, then goes its way.
    Delay(u64),
    /// An answer with this status and the error body that fits the service (a JSON object that registries, engines and
    /// Argo CD's gateway all understand).
    Status(u16),
    /// An answer with this status and this code of a registry: `NAME_UNKNOWN` with 404, for a repository that is not there or
    /// that the login may not see.
    Code {
        /// The status.
        status: u16,
        /// The code in the error document.
        code: String,
    },
    /// 429 with `Retry-After` in seconds.
    TooManyRequests {
        /// The value of the header.
        retry_after: u64,
    },
    /// 200 with an HTML page, as a login portal or a wrong ingress answers.
    Html,
    /// The service's own answer, cut after half of its body (at most after [`CUT_AFTER`] bytes), then FIN.
    Truncate,
    /// The service's own answer, half of its body, then RST.
    TruncateReset,
    /// The service's own answer, half of its body, then silence.
    StallBody,
    /// The service's own answer with another `Docker-Content-Digest`.
    LyingDigestHeader,
    /// The service's own answer with this `Date`, as of a server with another clock.
    Date(String),
    /// The service's own answer with one byte of its body changed; length and headers stay.
    LyingBody,
}

impl Fault {
    /// Whether the fault changes the service's answer, so that the request has to reach the service.
    pub(super) fn needs_answer(&self) -> bool {
        matches!(
            self,
            Self::Truncate
                | Self::TruncateReset
                | Self::StallBody
                | Self::LyingDigestHeader
                | Self::LyingBody
                | Self::Date(_)
        )
    }

    pub(super) fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(milliseconds) => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        }
    }
}

/// The longest part of a body that [`Fault::Truncate`] lets through.
pub(super) const CUT_AFTER: usize = 4096;

/// A fault, and the requests that meet it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only requests with this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only requests whose path and query contain this text.
    #[serde(default)]
    pub path: Option<String>,
    /// The first request that meets the fault, counted from 0 among those that fit.
    #[serde(default)]
    pub index: usize,
    /// How many requests in a row meet it; `None` is every one from `index` on.
    #[serde(default = "once")]
    pub times: Option<usize>,
    /// The request reaches the service and takes effect; only the answer is lost or replaced.
    #[serde(default)]
    pub delivered: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn once() -> Option<usize> {
    Some(1)
}

impl Rule {
    /// The first request, whatever it is, meets `fault`, once.
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, path: None, index: 0, times: once(), delivered: false }
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(mut self, method: &Method) -> Self {
        self.method = Some(method.as_str().to_owned());
        self
    }

    /// Only requests whose path and query contain `part`.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// The request with this index (from 0) among those that fit.
    #[must_use]
    pub fn nth(mut self, index: usize) -> Self {
        self.index = index;
        self
    }

    /// This many requests in a row.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// Every fitting request from the index on.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// The service gets the request and acts on it; the client does not see its answer.
    #[must_use]
    pub fn delivered(mut self) -> Self {
        self.delivered = true;
        self
    }

    fn fits(&self, method: &Method, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()))
            && self.path.as_deref().is_none_or(|part| target.contains(part))
    }
}

/// Says whether a request, by its method, path and query, is one of those that a rule is for.
pub(super) type Chosen = Box<dyn Fn(&Method, &str) -> bool + Send>;

/// A rule and how many requests have fitted it.
pub(super) struct Counted {
    rule: Rule,
    chosen: Option<Chosen>,
    fitted: usize,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("rule", &self.rule)
            .field("fitted", &self.fitted)
            .finish_non_exhaustive()
    }
}

impl Counted {
    pub(super) fn new(rule: Rule, chosen: Option<Chosen>) -> Self {
        Self { rule, chosen, fitted: 0 }
    }

    fn fits(&self, method: &Method, target: &str) -> bool {
        self.rule.fits(method, target)
            && self.chosen.as_ref().is_none_or(|chosen| chosen(method, target))
    }
}

/// Counts the request in every rule that it fits, and gives the first one that is due.
pub(super) fn first_match(rules: &mut [Counted], method: &Method, target: &str) -> Option<Rule> {
    let mut due = None;
    for counted in rules.iter_mut().filter(|counted| counted.fits(method, target)) {
        let index = counted.fitted;
        counted.fitted += 1;
        let first = counted.rule.index;
        let is_due = index >= first
            && counted.rule.times.is_none_or(|times| index < first.saturating_add(times));
        if is_due && due.is_none() {
            due = Some(counted.rule.clone());
        }
    }
    due
}

/// The body with one byte changed, so that JSON stays JSON: a digit is counted up where there is one.
pub(super) fn changed(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    if let Some(digit) = body.iter_mut().rev().find(|byte| (b'0'..=b'8').contains(byte)) {
        *digit += 1;
    } else if let Some(first) = body.first_mut() {
        *first ^= 1;
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the requests meet a fault.
    #[track_caller]
    fn check(rules: &[Rule], requests: &[(Method, &str)], want: &[Option<&Fault>]) {
        let mut rules: Vec<Counted> =
            rules.iter().cloned().map(|rule| Counted::new(rule, None)).collect();
        let got: Vec<_> = requests
            .iter()
            .map(|(method, target)| first_match(&mut rules, method, target))
            .collect();
        let got: Vec<_> = got.iter().map(|rule| rule.as_ref().map(|rule| &rule.fault)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn rules_pick_requests() {
        let requests =
            [(Method::GET, "/a"), (Method::PUT, "/b?x"), (Method::GET, "/b"), (Method::GET, "/b")];
        let (reset, html) = (Fault::Reset, Fault::Html);
        let rule = |fault: &Fault| Rule::new(fault.clone());
        check(&[], &requests, &[None, None, None, None]);
        check(&[rule(&reset)], &requests, &[Some(&reset), None, None, None]);
        check(&[rule(&reset).nth(2)], &requests, &[None, None, Some(&reset), None]);
        check(
            &[rule(&reset).nth(1).times(2)],
            &requests,
            &[None, Some(&reset), Some(&reset), None],
        );
        check(
            &[rule(&reset).nth(1).always()],
            &requests,
            &[None, Some(&reset), Some(&reset), Some(&reset)],
        );
        check(&[rule(&reset).path("/b")], &requests, &[None, Some(&reset), None, None]);
        check(
            &[rule(&reset).path("/b").method(&Method::GET)],
            &requests,
            &[None, None, Some(&reset), None],
        );
        // The first due rule wins, yet the second one has counted the request.
        check(
            &[rule(&html), rule(&reset).nth(1)],
            &requests,
            &[Some(&html), Some(&reset), None, None],
        );
        check(&[rule(&html), rule(&reset)], &requests, &[Some(&html), None, None, None]);
    }

    #[test]
    fn a_rule_can_be_for_chosen_requests() {
        let rule = Rule::new(Fault::Reset).nth(1);
        let mut rules = [Counted::new(rule, Some(Box::new(|_, target| target.ends_with("/a"))))];
        let mut hit = |target| first_match(&mut rules, &Method::GET, target).is_some();
        assert_eq!(["/a", "/a/b", "/x/a", "/a"].map(&mut hit), [false, false, true, false]);
    }

    #[test]
    fn a_rule_is_read_from_json() {
        let rule: Rule =
            serde_json::from_str(r#"{"fault":{"status":503},"path":"/sync","times":null}"#)
                .unwrap();
        assert_eq!(rule, Rule::new(Fault::Status(503)).path("/sync").always());
        let rule: Rule = serde_json::from_str(r#"{"fault":"lying-body"}"#).unwrap();
        assert_eq!(rule, Rule::new(Fault::LyingBody));
        assert!(serde_json::from_str::<Rule>(r#"{"fault":"reset","indx":1}"#).is_err());
    }

    #[test]
    fn a_changed_body_differs_in_one_byte() {
        for body in [r#"{"size":7}"#, "99", "text", r#"{"a":[1,2,9]}"#] {
            let changed = changed(body.as_bytes());
            let differing =
                changed.iter().zip(body.as_bytes()).filter(|(one, other)| one != other).count();
            assert_eq!((changed.len(), differing), (body.len(), 1), "{body}");
        }
        assert_eq!(changed(br#"{"size":7}"#), br#"{"size":8}"#);
    }
}
