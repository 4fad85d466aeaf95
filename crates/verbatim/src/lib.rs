//! Carry one tested image digest from environment to environment.

pub mod config;
pub mod source;
