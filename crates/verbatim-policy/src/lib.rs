//! Gates: may this release enter that environment?
//!
//! Pure, synchronous and total: [`decide`] takes facts and answers. A missing fact is a reason to refuse, never an error;
//! every gate is evaluated, so that a person sees all reasons at once. Reads no configuration: the runner converts its
//! own into [`Gates`].

mod decide;
mod decision;
mod facts;
mod gate;

pub use decide::decide;
pub use decision::{Answer, Decision, Reason};
pub use facts::{Facts, Ledger, Live};
pub use gate::{Gate, Gates, Ran};
