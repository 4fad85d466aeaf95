//! The cells of the table: which scene, which service, what goes wrong, and at which request. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fault_proxy::{Fault, Rule, Seen};
use http::Method;

use crate::scene::{Command, Scene};
use crate::shape::{Names, is_read, shape};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Engine,
    Registry,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
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
    /// Method and path, without what differs from run to run.
    pub(crate) shape: String,
    /// Its place among the requests of this shape: requests to a service run side by side, and change places.
    pub(crate) nth: usize,
    /// Whether it is the first one.
    pub(crate) first: bool,
    /// Whether something was written to the service before, or is by this request.
    pub(crate) acting: bool,
    /// Whether it is the last one.
    pub(crate) last: bool,
    /// Whether the engine makes it, as part of a push: its retries and its patience are its own.
    pub(crate) by_engine: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// What is run, and where.
    pub(crate) scene: Scene,
    pub(crate) service: Service,
    pub(crate) trouble: Trouble,
    pub(crate) request: Request,
    /// Whether every later request meets the same.
    pub(crate) for_good: bool,
}

impl Cell {
    /// The rule for the proxy before the service, and whether it is only for requests of the cell's shape.
    pub(crate) fn rule(&self) -> (Rule, bool) {
        let rule = Rule::new(self.trouble.fault());
        if self.for_good { (rule.always(), false) } else { (rule.nth(self.request.nth), true) }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, service, trouble, request, for_good } = self;
        let Request { shape, nth, .. } = request;
        let times = if *for_good { " and every later request" } else { "" };
        write!(f, "{scene}, {service}: {trouble} at {shape} ({nth}){times}")
    }
}

/// Which cells of a table are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    seed: u64,
    /// One cell in so many.
    of: usize,
}

impl Sample {
    pub(crate) const ALL: Self = Self { seed: 0, of: 1 };

    /// From `SEED/N`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (seed, of) = text.split_once('/')?;
        let of = of.parse().ok().filter(|&of| of > 0)?;
        Some(Self { seed: seed.parse().ok()?, of })
    }

    /// The cells to try: at least one, and for the same seed the same ones, wherever else they stand in the table.
    pub(crate) fn of<C: fmt::Display>(self, mut cells: Vec<C>) -> Vec<C> {
        cells.sort_by_cached_key(|cell| {
            let mut hasher = DefaultHasher::new();
            (self.seed, cell.to_string()).hash(&mut hasher);
            hasher.finish()
        });
        cells.truncate(cells.len().div_ceil(self.of));
        cells
    }
}

/// The cells of one scene and one service, from the requests of a run without faults: each fault at each request that
/// stands for a kind, and at the first one also for good. Faults that take the same way as another one, and those of a
/// test, whose requests a promotion makes, too, are tried at the first request, the first write and the last request.
pub(crate) fn cells(scene: Scene, service: Service, requests: &[Request]) -> Vec<Cell> {
    let first_write = requests.iter().position(|request| request.acting);
    let mut cells = Vec::new();
    for trouble in Trouble::ALL.into_iter().filter(|trouble| trouble.concerns(service)) {
        for (place, request) in requests.iter().enumerate() {
            let is_landmark = request.first || Some(place) == first_write || request.last;
            let everywhere = scene.command != Command::Test && !trouble.is_like_another();
            if !(everywhere || is_landmark) || !scene.disturbs(request) {
                continue;
            }
            // An engine goes on to wait for this answer when nobody wants the push any more, and lets the next push of the
            // same layer wait with it (seen with 20.10).
            if request.by_engine && trouble == Trouble::Slow && request.shape.starts_with("HEAD ") {
                continue;
            }
            let cell = Cell { scene, service, trouble, request: request.clone(), for_good: false };
            let lasts = request.first && trouble != Trouble::Unreachable && !trouble.is_signal();
            cells.extend(lasts.then(|| Cell { for_good: true, ..cell.clone() }));
            cells.push(cell);
        }
    }
    cells
}

/// The requests that stand for all: the first of each method and kind of path, and the last one.
pub(crate) fn picked(seen: &[Seen], names: &Names) -> Vec<Request> {
    let mut known = BTreeMap::<String, usize>::new();
    let mut acting = false;
    let mut by_engine = false;
    let mut picked = Vec::new();
    for (index, one) in seen.iter().enumerate() {
        let shape = shape(&one.method, &one.target, names);
        // An engine begins a push with a greeting, and ends it with the manifest; nobody else greets.
        by_engine |= shape == "GET /v2/";
        by_engine &= !picked.last().is_some_and(|one: &Request| {
            one.by_engine && one.shape == "PUT /v2/shop/app/manifests/TAG"
        });
        // Whether a blob is there is asked before it is pushed, and of what a node would pull before anything is written.
        let is_push = shape.starts_with("HEAD ") && !shape.ends_with("/LAYER");
        acting |= !is_read(&shape) || is_push;
        let (first, last) = (index == 0, index + 1 == seen.len());
        let count = known.entry(shape.clone()).or_default();
        let nth = *count;
        *count += 1;
        if nth == 0 || last {
            picked.push(Request { shape, nth, first, acting, last, by_engine });
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_the_last_are_picked() {
        let seen = |method: Method, target: &str| Seen {
            method,
            target: target.to_owned(),
            status: None,
            fault: None,
            delivered: true,
            struck: false,
        };
        let requests = [
            seen(Method::GET, "/a"),
            seen(Method::GET, "/a?x=1"),
            seen(Method::PATCH, "/a"),
            seen(Method::GET, "/b"),
            seen(Method::GET, "/a"),
        ];
        let picked = picked(&requests, &Names::default());
        let picked: Vec<_> =
            picked.iter().map(|one| (one.shape.as_str(), one.nth, one.acting)).collect();
        assert_eq!(
            picked,
            [("GET /a", 0, false), ("PATCH /a", 0, true), ("GET /b", 0, true), ("GET /a", 2, true)]
        );
    }

    #[test]
    fn a_seed_takes_its_part_of_the_cells() {
        let request = |nth| Request {
            shape: "GET /a".to_owned(),
            nth,
            first: true,
            acting: false,
            last: false,
            by_engine: false,
        };
        let scene = Scene::plain(Command::Promote);
        let trouble = Trouble::Slow;
        let cells: Vec<Cell> = (0..800)
            .map(|nth| Cell {
                scene,
                service: Service::Registry,
                trouble,
                request: request(nth),
                for_good: false,
            })
            .collect();
        let taken = |text: &str| -> Vec<String> {
            let taken = Sample::parse(text).unwrap().of(cells.clone());
            taken.iter().map(Cell::to_string).collect()
        };
        assert_eq!(taken("7/8").len(), 100);
        assert_eq!(taken("7/8"), taken("7/8"));
        assert_ne!(taken("7/8"), taken("8/8"));
        assert_eq!(taken("7/1").len(), 800);
        assert_eq!(taken("7/1000").len(), 1);
        for wrong in ["", "7", "7/0", "x/8", "7/8/9"] {
            assert_eq!(Sample::parse(wrong), None, "{wrong}");
        }
    }
}
