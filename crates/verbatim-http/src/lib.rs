//! What every HTTP client of this workspace needs and no service has to say: when a call is repeated, which
//! certificates are trusted, how a URL is printed, which hosts are this machine, which are behind a proxy, and whether a server's clock agrees.
//!
//! No request is sent here, and no HTTP library is known: a client brings its own, and asks these functions.

mod clock;
mod loopback;
mod proxies;
mod redact;
mod retry;
mod roots;

pub use crate::clock::{ClockReading, ServerClock};
pub use crate::loopback::is_loopback;
pub use crate::proxies::Proxies;
pub use crate::redact::{RedactedUrl, redact_text};
pub use crate::retry::{RetryPolicy, chance, retry_after};
pub use crate::roots::{RootsError, check_roots, client_config};
