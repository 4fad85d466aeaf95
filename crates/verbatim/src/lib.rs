//! Carry one tested image digest from environment to environment.
