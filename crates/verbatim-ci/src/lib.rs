//! Which CI job is this: pure, from a map of environment variables.
