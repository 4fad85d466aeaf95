//! Servers that tests and the demo talk to: a registry, a fault proxy, a simulated Argo CD, a node agent, an identity
//! provider.
//!
//! Development only: nothing of the product may depend on this package. Every server listens on loopback, holds its
//! whole state in itself, and ends when its handle is dropped.

pub mod argocd;
pub mod cases;
pub mod fault_proxy;
pub mod identity;
pub mod node_agent;
pub mod registry;
pub mod rig;
mod served;
