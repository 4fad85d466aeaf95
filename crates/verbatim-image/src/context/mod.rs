//! The build context: what is in it, what `.dockerignore` leaves out, and the archive that carries it. Nothing here knows the engine.

pub(crate) mod archive;
pub(crate) mod dockerfile;
pub mod ignore;
pub(crate) mod walk;
