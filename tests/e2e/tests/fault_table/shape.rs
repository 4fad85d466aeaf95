//! Names for requests that are the same from run to run. Pure.

use std::collections::BTreeMap;

use http::Method;
use verbatim_oci::Digest;

/// What stands behind some digests. What has no name is a `DIGEST`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// Gives a digest a name, unless it has one.
    pub(crate) fn add(&mut self, digest: &Digest, name: impl Into<String>) {
        self.0.entry(digest.hex()).or_insert_with(|| name.into());
    }

    fn of(&self, hex: &str) -> &str {
        self.0.get(hex).map_or("DIGEST", String::as_str)
    }
}

/// Whether a request of this shape changes nothing.
pub(crate) fn is_read(shape: &str) -> bool {
    shape.starts_with("GET ") || shape.starts_with("HEAD ")
}

/// Method and path with names for what differs from run to run.
pub(crate) fn shape(method: &Method, target: &str, names: &Names) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/').skip(1) {
        let last = segments.last().map(String::as_str);
        let name = match (last, segment) {
            // The version of the engine's API.
            (None, version) if is_version(version) => continue,
            (_, digest) if digest.starts_with("sha256:") => names.of(&digest[7..]).to_owned(),
            (_, tag) if tag.starts_with("sha256-") => format!("FALLBACK-{}", names.of(&tag[7..])),
            (Some("manifests"), _) => "TAG".to_owned(),
            (Some("images"), _) => "IMAGE".to_owned(),
            (Some("uploads"), id) if !id.is_empty() => "ID".to_owned(),
            (_, name) => name.to_owned(),
        };
        // The name of an image has segments of its own.
        if last == Some("IMAGE") && !["json", "push"].contains(&name.as_str()) {
            continue;
        }
        segments.push(name);
    }
    let refresh = if query.contains("refresh=") { "?refresh" } else { "" };
    format!("{method} /{}{refresh}", segments.join("/"))
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_leave_out_what_differs() {
        let (known, other) = (Digest::of(b"known"), Digest::of(b"other"));
        let mut names = Names::default();
        names.add(&known, "RELEASE");
        names.add(&known, "later names do not count");
        for (method, target, want) in [
            (
                Method::GET,
                format!("/v2/shop/app/manifests/{other}"),
                "GET /v2/shop/app/manifests/DIGEST",
            ),
            (
                Method::GET,
                format!("/v2/shop/app/referrers/{known}?artifactType=x"),
                "GET /v2/shop/app/referrers/RELEASE",
            ),
            (
                Method::PUT,
                format!("/v2/shop/app/manifests/sha256-{}", known.hex()),
                "PUT /v2/shop/app/manifests/FALLBACK-RELEASE",
            ),
            (
                Method::GET,
                "/v2/shop/app/manifests/local.1".into(),
                "GET /v2/shop/app/manifests/TAG",
            ),
            (
                Method::PUT,
                format!("/v2/shop/app/blobs/uploads/1-2?digest={other}"),
                "PUT /v2/shop/app/blobs/uploads/ID",
            ),
            (
                Method::POST,
                "/v2/shop/app/blobs/uploads/".into(),
                "POST /v2/shop/app/blobs/uploads/",
            ),
            (
                Method::POST,
                "/v1.41/images/127.0.0.1:5000/shop/app/push?tag=1".into(),
                "POST /images/IMAGE/push",
            ),
            (
                Method::GET,
                "/images/127.0.0.1:5000/shop/app:1/json".into(),
                "GET /images/IMAGE/json",
            ),
            (
                Method::GET,
                "/api/v1/applications/shop-dev?refresh=normal".into(),
                "GET /api/v1/applications/shop-dev?refresh",
            ),
        ] {
            assert_eq!(shape(&method, &target, &names), want);
        }
    }
}
