//! What many records say together: which count, which are in force, whether one is missing. One record alone is judged in
//! `envelope`.

mod bans;
mod chain;
mod custody;
mod log;
mod records;
mod testimony;

pub use bans::{in_force, vetoes_against};
pub use chain::{Anchor, AnchorError, Anchors, Chain, ChainFault, ChainFit};
pub use custody::{Custody, CustodyStep, CustodyStepKind};
pub use log::{HiddenRecord, LedgerLog, NamedBy};
pub use records::{JudgedRecord, RecordCollector, RecordJudge, Records, RejectedRecord};
pub use testimony::Testimony;
