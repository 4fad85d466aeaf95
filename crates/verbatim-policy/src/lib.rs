//! Gates: may this release enter that environment?
//!
//! Pure, synchronous and total: [`decide`] turns facts into an answer. A missing fact is a reason to refuse, never an
//! error; every gate is checked, so that people see all reasons at once. Reads no configuration: the runner converts its
//! own into [`Gates`].

mod condition;
mod decide;
mod decision;
mod display;
mod facts;
mod gate;
mod outlook;
mod windows;

pub use condition::{Condition, ConditionError, EvaluationError, Variables};
pub use decide::{ATTESTED_VARIABLES, WHEN_VARIABLES, decide};
pub use decision::{Decision, GateAnswer, OverrideError, Reason};
pub use display::FullDecision;
pub use facts::{Author, Bans, Facts, LedgerReading, LiveReading, ReleaseOrder};
pub use gate::{
    ApprovalRequirement, BuildRequirement, Gate, GateKind, Gates, Presence, StatementRequirement,
    StatementTime,
};
pub use outlook::{AwaitedGate, NextLook, Outlook, next_look, outlook};
pub use windows::{Window, WindowError, WindowKind, ZonedWindow, is_open, next_opening};
