//! The runner: configuration, gather, decide, plan, execute, record, and the command line around it.
//!
//! It composes the tool crates and converts between them. What a tool does alone belongs to the tool; what follows from
//! facts alone is pure (`config`, `release`, `plan`, `pipeline_file`) and tested without any service.

mod building;
pub mod cli;
mod clients;
mod commands;
pub mod config;
mod discover;
mod evidence;
mod execute;
mod failures;
mod gates;
mod gather;
mod handoff;
mod identity;
mod look;
mod newer;
mod pipeline_file;
mod plan;
mod promotion;
mod recording;
mod release;
mod settings;
mod source;
mod store;
mod suites;
mod testing;
