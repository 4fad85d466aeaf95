//! Image tool: build and push over the Docker Engine API.
