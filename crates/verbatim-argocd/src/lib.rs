//! Argo CD tool: override, sync, wait and prove over REST.
