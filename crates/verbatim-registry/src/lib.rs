//! Registry client and tool: resolve, manifests, tags, referrers.
