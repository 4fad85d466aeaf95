//! The Docker Engine: where it is, what it answers and tells, and how long it may be silent. What is built or pushed is not
//! known here.

mod connection;
mod credentials;
mod endpoint;
mod event;
mod idle;
mod query;
mod transcript;

pub(crate) use self::connection::read_id;
pub use self::connection::{Builder, Engine, REQUEST_TIMEOUT};
pub(crate) use self::credentials::{KeyStyle, for_repositories, for_repository};
pub use self::endpoint::{DEFAULT_HOST, Endpoint, EndpointConfig};
pub use self::event::EngineEvent;
pub(crate) use self::idle::IdleTimer;
pub(crate) use self::transcript::{FailureClass, Transcript, classify};
