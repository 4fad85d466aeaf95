//! The Docker Engine: where it is, what it answers and tells, and how long it may be silent. What is built or pushed is not
//! known here.

mod ask;
mod connection;
mod credentials;
mod endpoint;
mod event;
mod silence;
mod transcript;

pub(crate) use self::connection::read_id;
pub use self::connection::{Builder, Engine, REQUEST_TIMEOUT};
pub(crate) use self::credentials::{KeyStyle, for_repositories, for_repository};
pub use self::endpoint::{DEFAULT_HOST, Endpoint, EndpointConfig};
pub use self::event::Event;
pub(crate) use self::silence::Silence;
pub(crate) use self::transcript::{Class, Transcript, classify};
