//! The runner: configuration, gather, decide, plan, execute, record, and the command line around it.
//!
//! It composes the tool crates and converts between them. What a tool does alone belongs to the tool; what follows from
//! facts alone is pure (`config`, `release`, `plan`, `pipeline_file`) and tested without any service.

pub mod cli;
mod commands;
pub mod config;
mod handoff;
mod pipeline_file;
mod release;
mod settings;
mod source;
