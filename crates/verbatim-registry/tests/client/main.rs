//! The client and the tool against registries on this machine: one in this process, the reference implementation where
//! it is at hand, and scripted ones for what no good registry does.

mod attach;
mod copy;
mod faults;
mod login;
mod reading;
mod referrers;
mod scripted;
mod secure;
mod setup;
mod tool;
mod writing;
