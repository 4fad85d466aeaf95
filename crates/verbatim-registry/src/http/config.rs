//! How a client reaches registries. Plain data: reads no file and no environment.

use std::collections::BTreeSet;
use std::time::Duration;

use verbatim_http::{Proxies, RetryPolicy};

use crate::ErrorKind;

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct Config {
    /// The user agent, for example `verbatim/1.2.3`.
    pub user_agent: String,
    /// Registries, `host[:port]`, to reach over plain HTTP. Registries on this machine also are, if they do not speak TLS.
    pub plain_http: BTreeSet<String>,
    /// Whether registries on this machine must use TLS, too.
    pub tls_on_loopback: bool,
    /// Additional certificates to trust, as PEM.
    pub extra_roots: Vec<u8>,
    /// Token servers that get credentials although they are outside the registry's site.
    pub trusted_realms: BTreeSet<String>,
    /// The proxies to go through. Never to this machine.
    pub proxies: Proxies,
    /// How long the parts of a request may take.
    pub timeouts: Timeouts,
    /// How often, and for how long, a failed request is repeated.
    pub retry: RetryPolicy,
    /// How many requests run at the same time against one registry; at least two, because a copy within a registry
    /// reads and writes at the same time.
    pub concurrency: usize,
    /// The shortest time for which the fallback tag of a subject must stay as it is before an entry in it counts as
    /// written. See [`Client::attach`](crate::Client::attach).
    pub fallback_settle: Duration,
}

/// How long the parts of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until the connection is established, including DNS and TLS.
    pub connect: Duration,
    /// From the request to the end of its answer, except for streams. Request bodies add time by their size.
    pub request: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
}

impl Config {
    /// The settings that fit most: system certificates, proxies of the environment, plain HTTP on this machine only.
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            plain_http: BTreeSet::new(),
            tls_on_loopback: false,
            extra_roots: Vec::new(),
            trusted_realms: BTreeSet::new(),
            proxies: Proxies::of_process(),
            timeouts: Timeouts {
                connect: Duration::from_secs(10),
                request: Duration::from_secs(30),
                idle: Duration::from_secs(30),
            },
            retry: RetryPolicy {
                attempts: 4,
                first_wait: Duration::from_millis(250),
                longest_wait: Duration::from_secs(30),
                budget: Duration::from_secs(90),
            },
            concurrency: 8,
            fallback_settle: Duration::from_millis(250),
        }
    }

    /// Also trusts the certificates of one file, in PEM.
    ///
    /// # Errors
    ///
    /// If there is none in it.
    pub fn trust(&mut self, pem: &[u8]) -> Result<(), ErrorKind> {
        verbatim_http::check_roots(pem).map_err(|error| ErrorKind::Config(error.to_string()))?;
        self.extra_roots.extend_from_slice(pem);
        self.extra_roots.push(b'\n');
        Ok(())
    }
}
