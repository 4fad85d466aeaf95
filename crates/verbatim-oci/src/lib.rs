//! Names and documents of container images: digest, tag, repository, reference, platform, manifest, index.
