//! What a request costs the server, and how long it waits for that: Argo CD's API server asks the Kubernetes API for
//! Applications through one client, which allows itself 50 requests a second after a burst of 100 (`K8sClientConfigQPS`
//! in `pkg/apis/application/v1alpha1/cluster_constants.go` of Argo CD 3.6.1). Nobody is refused; requests wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep_until};

use super::Query;

/// Requests a second.
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;

/// How many requests of the limited client a call makes that succeeds. What comes from the informer's cache or from Redis
/// costs none: lists, watches, trees, managed resources and manifests. Neither do reads of live objects, for each of which
/// the server makes clients of its own (`GetResource` in `gitops-engine/pkg/utils/kube/ctl.go`); they cost the cluster two
/// requests each. The numbers are those of `server/application/application.go`, and a PATCH was counted on a real server.
pub(super) fn units(method: &Method, path: &str, query: &Query) -> u32 {
    let Some(rest) = path.strip_prefix("/api/v1/applications") else { return 0 };
    let (_, tail) = rest.trim_start_matches('/').split_once('/').unwrap_or_default();
    match (method.as_str(), tail) {
        // `validateAndNormalizeApp` reads, then the object is made.
        ("POST", "") => 2,
        (_, "") if rest.len() < 2 => 0,
        // A refresh writes an annotation.
        ("GET", "") => {
            if query.get("refresh").is_some() {
                2
            } else {
                1
            }
        }
        // It is read to apply the patch, read again, read to be validated, and written.
        ("PATCH", "") => 4,
        ("PUT", "") => 3,
        ("PUT", "spec") => 4,
        // It is read, the finalizers are written, it is deleted.
        ("DELETE", "") => 3,
        // It is read, and `SetAppOperation` reads and writes it.
        ("POST", "sync" | "rollback") => 3,
        ("DELETE", "operation") => 2,
        ("GET", "syncwindows") => 1,
        _ => 0,
    }
}

/// The requests that are allowed at the moment.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// Below zero while requests wait.
    tokens: f64,
    at: Instant,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Bucket { tokens: BURST, at: Instant::now() }))
    }

    /// Waits until so many requests have had their turn, behind all that came before.
    pub(super) async fn wait(&self, units: u32) {
        if units > 0 {
            let turn = self.turn(units, Instant::now());
            sleep_until(turn).await;
        }
    }

    /// When so many requests that come now have had their turn.
    fn turn(&self, units: u32, now: Instant) -> Instant {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * RATE).min(BURST) - f64::from(units);
        bucket.at = now;
        now + Duration::from_secs_f64((-bucket.tokens).max(0.0) / RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_cache_costs_nothing() {
        let cases = [
            ("GET", "/api/v1/applications?selector=a", 0),
            ("GET", "/api/v1/applications/shop", 1),
            ("GET", "/api/v1/applications/shop?refresh=normal", 2),
            ("GET", "/api/v1/applications/shop/syncwindows", 1),
            ("GET", "/api/v1/applications/shop/resource-tree", 0),
            ("GET", "/api/v1/applications/shop/managed-resources", 0),
            ("GET", "/api/v1/applications/shop/manifests", 0),
            ("GET", "/api/v1/applications/shop/resource?kind=Pod", 0),
            ("GET", "/api/v1/stream/applications?name=shop", 0),
            ("PATCH", "/api/v1/applications/shop", 4),
            ("PUT", "/api/v1/applications/shop?validate=false", 3),
            ("PUT", "/api/v1/applications/shop/spec", 4),
            ("POST", "/api/v1/applications/shop/sync", 3),
            ("POST", "/api/v1/applications", 2),
            ("GET", "/api/version", 0),
        ];
        for (method, target, want) in cases {
            let uri: http::Uri = target.parse().unwrap();
            let method = method.parse().unwrap();
            assert_eq!(units(&method, uri.path(), &Query::of(&uri)), want, "{method} {target}");
        }
    }

    #[test]
    fn after_the_burst_everybody_waits_for_their_turn() {
        let limiter = Limiter::new();
        let now = Instant::now();
        let turns: Vec<Duration> = (0..50).map(|_| limiter.turn(4, now) - now).collect();
        assert_eq!(turns[24], Duration::ZERO);
        assert_eq!(turns[25], Duration::from_millis(80));
        assert_eq!(turns[49], Duration::from_secs(2));
        // Two seconds pay for what was taken, and the next second is free.
        let later = now + Duration::from_secs(3);
        assert_eq!(limiter.turn(50, later), later);
        assert_eq!(limiter.turn(1, later), later + Duration::from_millis(20));
    }
}
