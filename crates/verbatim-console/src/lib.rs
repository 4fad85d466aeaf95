//! The only crate that prints: results, progress, failures, exit statuses, log set-up.
