//! Build and push images over the Docker Engine's API.

mod archive;
mod build;
mod context;
mod credentials;
mod dockerfile;
pub mod endpoint;
mod engine;
mod error;
mod event;
pub mod ignore;
pub mod labels;
mod push;
mod remote;
pub mod template;
mod transcript;

pub use crate::build::{BuildConfig, Built, build};
pub use crate::endpoint::{Endpoint, EndpointConfig};
pub use crate::engine::{Builder, Engine};
pub use crate::error::{Cause, Error, ErrorKind};
pub use crate::event::Event;
pub use crate::push::{PushConfig, push};
pub use crate::remote::{Existing, How, Pushed, TagState, existing, tag_state};
