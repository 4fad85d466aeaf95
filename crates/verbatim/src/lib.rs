//! The runner: configuration, gather, decide, plan, execute, record, and the command line around it.
//!
//! It composes the tool crates and converts between them. What a tool does alone belongs to the tool; what follows from
//! facts alone is pure (`config`, `promotion::plan`, `scaffold`) and tested without any service.

pub mod cli;
mod commands;
pub mod config;
mod doctor;
mod environment;
#[doc(hidden)]
pub mod fuzzing;
mod policy;
mod project;
pub mod promotion;
mod records;
mod release;
mod scaffold;
mod testing;
