//! Files that a project begins with, as text made from values. Reads no service and writes no file.

pub(crate) mod config_file;
pub(crate) mod inspected;
pub(crate) mod pipeline_file;
