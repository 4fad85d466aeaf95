//! The cells of the table: which command, which service, what goes wrong, and at which request. Pure.

use std::collections::BTreeSet;
use std::fmt;

use http::Method;
use test_servers::fault_proxy::{Fault, Rule, Seen};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    /// `verbatim build`.
    Build,
    /// `verbatim promote dev`.
    Promote,
    /// `verbatim test dev`.
    Test,
}

impl Command {
    /// The services that it talks to.
    pub(crate) fn services(self) -> [Service; 2] {
        match self {
            Self::Build => [Service::Engine, Service::Registry],
            Self::Promote | Self::Test => [Service::Registry, Service::ArgoCd],
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Promote => "promote",
            Self::Test => "test",
        })
    }
}

/// Who misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    /// The Docker Engine.
    Engine,
    /// The registry.
    Registry,
    /// Argo CD.
    ArgoCd,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            Self::Registry => "registry",
            Self::ArgoCd => "Argo CD",
        })
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Nobody listens any more.
    Unreachable,
    /// No answer before the deadline.
    Slow,
    /// This status, with the error document of the service.
    Status(u16),
    /// 429 that asks to wait.
    TooMany,
    /// A web page with status 200.
    Html,
    /// Half of the answer, then the end of the connection.
    Truncated,
    /// The connection is reset.
    Reset,
    /// Another digest in the header.
    LyingHeader,
    /// Another content than the digest says.
    LyingBody,
    /// Ctrl-C while the request is under way.
    Interrupt,
    /// The CI cancels the job while the request is under way.
    Terminate,
}

impl Trouble {
    /// Everything that is tried.
    pub(crate) const ALL: [Self; 16] = [
        Self::Unreachable,
        Self::Slow,
        Self::Status(401),
        Self::Status(403),
        Self::Status(404),
        Self::TooMany,
        Self::Status(500),
        Self::Status(502),
        Self::Status(503),
        Self::Html,
        Self::Truncated,
        Self::Reset,
        Self::LyingHeader,
        Self::LyingBody,
        Self::Interrupt,
        Self::Terminate,
    ];

    /// Whether it makes sense for a service: only registries say digests.
    pub(crate) fn concerns(self, service: Service) -> bool {
        !matches!(self, Self::LyingHeader | Self::LyingBody) || service == Service::Registry
    }

    /// Whether it ends a push at once. Whatever else goes wrong, an engine waits out for minutes.
    fn ends_a_push(self) -> bool {
        matches!(self, Self::Status(401 | 403 | 404) | Self::Html) || self.is_signal()
    }

    /// Whether the code that meets it is the same as for another one.
    fn is_like_another(self) -> bool {
        matches!(self, Self::Status(502) | Self::TooMany | Self::Interrupt)
    }

    /// Whether the job is ended from outside.
    pub(crate) fn is_signal(self) -> bool {
        matches!(self, Self::Interrupt | Self::Terminate)
    }

    fn fault(self) -> Fault {
        match self {
            Self::Unreachable => Fault::Unreachable,
            Self::Slow => Fault::Stall,
            Self::Status(status) => Fault::Status(status),
            Self::TooMany => Fault::TooManyRequests { retry_after: 1 },
            Self::Html => Fault::Html,
            Self::Truncated => Fault::Truncate,
            Self::Reset => Fault::Reset,
            Self::LyingHeader => Fault::LyingDigestHeader,
            Self::LyingBody => Fault::LyingBody,
            // Held back for long enough to be under way when the signal comes; then it takes effect all the same.
            Self::Interrupt | Self::Terminate => Fault::Delay(300),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("not reachable"),
            Self::Slow => f.write_str("slow"),
            Self::Status(status) => status.fmt(f),
            Self::TooMany => f.write_str("429"),
            Self::Html => f.write_str("HTML"),
            Self::Truncated => f.write_str("truncated"),
            Self::Reset => f.write_str("reset"),
            Self::LyingHeader => f.write_str("lying header"),
            Self::LyingBody => f.write_str("lying body"),
            Self::Interrupt => f.write_str("SIGINT"),
            Self::Terminate => f.write_str("SIGTERM"),
        }
    }
}

/// A request of a run without faults.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    /// Its place among the requests to its service.
    pub(crate) index: usize,
    /// Method and path, without what differs from run to run.
    pub(crate) shape: String,
    /// Whether something was written to the service before, or is by this request.
    pub(crate) acting: bool,
    /// Whether it is the last one.
    pub(crate) last: bool,
    /// Whether the engine makes it, as part of a push: its retries and its patience are its own.
    pub(crate) by_engine: bool,
}

fn is_read(shape: &str) -> bool {
    shape.starts_with("GET ") || shape.starts_with("HEAD ")
}

/// A cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// What is run.
    pub(crate) command: Command,
    /// Who misbehaves.
    pub(crate) service: Service,
    /// How.
    pub(crate) trouble: Trouble,
    /// At which request.
    pub(crate) request: Request,
    /// Whether every later request meets the same.
    pub(crate) for_good: bool,
}

impl Cell {
    /// The rule for the proxy before the service.
    pub(crate) fn rule(&self) -> Rule {
        let rule = Rule::new(self.trouble.fault()).nth(self.request.index);
        if self.for_good { rule.always() } else { rule }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, service, trouble, request, for_good } = self;
        let times = if *for_good { " and on" } else { "" };
        write!(
            f,
            "{command}, {service}: {trouble} at request {}{times} ({})",
            request.index, request.shape
        )
    }
}

/// The cells of one command and one service, from the requests of a run without faults: each fault at each request that
/// stands for a kind, and at the first one also for good. Faults that take the same way as another one, and those of a
/// test, whose requests a promotion makes, too, are tried at the first request, the first write and the last request.
pub(crate) fn cells(command: Command, service: Service, requests: &[Request]) -> Vec<Cell> {
    let first_write = requests.iter().position(|request| request.acting);
    let mut cells = Vec::new();
    for trouble in Trouble::ALL.into_iter().filter(|trouble| trouble.concerns(service)) {
        for (place, request) in requests.iter().enumerate() {
            let is_landmark = place == 0 || Some(place) == first_write || request.last;
            let everywhere = command != Command::Test && !trouble.is_like_another();
            if !(everywhere || is_landmark) || (request.by_engine && !trouble.ends_a_push()) {
                continue;
            }
            // A build is given an hour, and a push half of one: a silent engine may be at work.
            if trouble == Trouble::Slow && service == Service::Engine && place > 0 {
                continue;
            }
            let cell =
                Cell { command, service, trouble, request: request.clone(), for_good: false };
            let lasts =
                request.index == 0 && trouble != Trouble::Unreachable && !trouble.is_signal();
            cells.extend(lasts.then(|| Cell { for_good: true, ..cell.clone() }));
            cells.push(cell);
        }
    }
    cells
}

/// The requests that stand for all: the first of each method and kind of path, and the last one.
pub(crate) fn picked(seen: &[Seen]) -> Vec<Request> {
    let mut known = BTreeSet::new();
    let mut acting = false;
    let mut by_engine = false;
    let mut picked = Vec::new();
    for (index, one) in seen.iter().enumerate() {
        let shape = shape(&one.method, &one.target);
        // An engine begins a push with a greeting, and ends it with the manifest; nobody else greets.
        by_engine |= shape == "GET /v2/";
        by_engine &= !picked.last().is_some_and(|one: &Request| {
            one.by_engine && one.shape == "PUT /v2/shop/app/manifests/TAG"
        });
        // Whether a blob is there is asked before it is pushed.
        acting |= !is_read(&shape) || shape.starts_with("HEAD ");
        let last = index + 1 == seen.len();
        if known.insert(shape.clone()) || last {
            picked.push(Request { index, shape, acting, last, by_engine });
        }
    }
    picked
}

/// Method and path with names for what differs from run to run.
pub(crate) fn shape(method: &Method, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        let name = match (segments.last().copied(), segment) {
            // The version of the engine's API.
            (None, version) if is_version(version) => continue,
            (_, digest) if digest.starts_with("sha256:") => "DIGEST",
            (_, tag) if tag.starts_with("sha256-") => "FALLBACK",
            (Some("manifests"), _) => "TAG",
            (Some("images"), _) => "IMAGE",
            (Some("uploads"), id) if !id.is_empty() => "ID",
            (_, name) => name,
        };
        // The name of an image has segments of its own.
        if segments.last() == Some(&"IMAGE") && !["json", "push"].contains(&name) {
            continue;
        }
        segments.push(name);
    }
    let refresh = if query.contains("refresh=") { "?refresh" } else { "" };
    format!("{method} /{}{refresh}", segments.join("/"))
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_leave_out_what_differs() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (method, target, want) in [
            (
                Method::GET,
                format!("/v2/shop/app/manifests/{digest}"),
                "GET /v2/shop/app/manifests/DIGEST",
            ),
            (
                Method::GET,
                "/v2/shop/app/manifests/local.1".into(),
                "GET /v2/shop/app/manifests/TAG",
            ),
            (
                Method::PUT,
                format!("/v2/shop/app/blobs/uploads/1-2?digest={digest}"),
                "PUT /v2/shop/app/blobs/uploads/ID",
            ),
            (
                Method::POST,
                "/v2/shop/app/blobs/uploads/".into(),
                "POST /v2/shop/app/blobs/uploads/",
            ),
            (
                Method::POST,
                "/v1.41/images/127.0.0.1:5000/shop/app/push?tag=1".into(),
                "POST /images/IMAGE/push",
            ),
            (
                Method::GET,
                "/api/v1/applications/shop-dev?refresh=normal".into(),
                "GET /api/v1/applications/shop-dev?refresh",
            ),
        ] {
            assert_eq!(shape(&method, &target), want);
        }
    }

    #[test]
    fn each_kind_and_the_last_are_picked() {
        let seen = |method: Method, target: &str| Seen {
            method,
            target: target.to_owned(),
            status: None,
            fault: None,
            delivered: true,
        };
        let picked = picked(&[
            seen(Method::GET, "/a"),
            seen(Method::GET, "/a?x=1"),
            seen(Method::PATCH, "/a"),
            seen(Method::GET, "/b"),
            seen(Method::GET, "/a"),
        ]);
        let picked: Vec<_> =
            picked.iter().map(|one| (one.index, one.shape.as_str(), one.acting)).collect();
        assert_eq!(
            picked,
            [(0, "GET /a", false), (2, "PATCH /a", true), (3, "GET /b", true), (4, "GET /a", true)]
        );
    }
}
