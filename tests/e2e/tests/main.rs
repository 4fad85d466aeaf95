//! The end-to-end tests, as one program: each file of its own would be linked with all of the product once more.
//!
//! One file a subject. One of them runs with `cargo test --workspace --test suite back::`.

mod alone;
mod attacks;
mod back;
mod bad_input;
mod clock;
mod delivery;
mod doctor;
mod failure;
mod faults;
mod forged;
mod identity;
mod init;
mod interleaved;
mod kept;
mod ledger;
mod lost;
mod meanwhile;
mod named;
mod overrides;
mod plans;
mod policy_source;
mod promotion;
mod real;
mod recheck;
mod records;
mod requests;
mod results;
mod rules;
mod selection;
mod several;
mod shapes;
mod side_by_side;
mod tested;
mod waiting;
