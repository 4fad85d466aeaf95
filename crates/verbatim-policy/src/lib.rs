//! Gates: may this release enter that environment?
//!
//! Pure, synchronous and total: [`decide`] takes facts and answers. A missing fact is a reason to refuse, never an error;
//! every gate is evaluated, so that a person sees all reasons at once. Reads no configuration: the runner converts its
//! own into [`Gates`].

mod condition;
mod decide;
mod decision;
mod display;
mod facts;
mod gate;
mod windows;

pub use condition::{Condition, ConditionError, EvaluationError, Variables};
pub use decide::{ATTESTED_VARIABLES, WHEN_VARIABLES, decide};
pub use decision::{Answer, Decision, OverrideError, Reason};
pub use display::FullDecision;
pub use facts::{Author, Bans, Facts, Ledger, Live, Order};
pub use gate::{Approvals, Attested, Gate, GateKind, Gates, Latest, Ran, Signed};
pub use windows::{Window, WindowError, WindowKind, ZonedWindow, is_open, next_opening};
