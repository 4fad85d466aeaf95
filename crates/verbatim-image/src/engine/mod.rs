//! The Docker Engine: its address, its answers and events, and its time limits. Does not know what is built or pushed.

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
