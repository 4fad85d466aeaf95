//! The runner: configuration, gather, decide, plan, execute, record, and the command line around it.
//!
//! It composes the tool crates and converts between them. What a tool does alone belongs to the tool; what follows from
//! facts alone is pure (`config`, `release`, `plan`, `pipeline_file`) and tested without any service.

mod adopting;
mod attempt;
mod building;
mod checkup;
mod child;
pub mod cli;
mod clients;
mod commands;
mod compose;
pub mod config;
mod deferred;
mod discover;
mod drift;
mod evidence;
mod execute;
mod failures;
mod first_config;
mod gates;
mod gather;
mod handoff;
mod identity;
mod look;
mod newer;
mod overview;
mod pipeline_file;
mod plan;
mod policy_cases;
mod policy_source;
mod precedence;
mod promotion;
mod provenance;
mod recording;
mod release;
mod result;
mod settings;
mod signer;
mod source;
mod state;
mod store;
mod suites;
mod testing;
mod unrecorded;
mod word;
