//! The labels that record the origin of an image.
//!
//! Pure. The caller provides the values: the runner from git and the CI, the tool from options.

use std::collections::BTreeMap;

/// `org.opencontainers.image.revision`: the commit.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// `org.opencontainers.image.source`: the URL of the source code.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// `org.opencontainers.image.created`: the time of creation, as RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// `org.opencontainers.image.version`: the version of the packaged software.
pub const VERSION: &str = "org.opencontainers.image.version";

/// Where an image comes from, in the [annotations that OCI defines][spec], written as labels.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOrigin {
    /// The commit of the build.
    pub revision: Option<String>,
    /// The URL of its repository.
    pub source: Option<String>,
    /// The time of the commit, so that another build gets the same label.
    pub created: Option<jiff::Timestamp>,
    /// The version.
    pub version: Option<String>,
}

impl ImageOrigin {
    /// The labels. Those in `explicit` win.
    pub fn labels(&self, explicit: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let created = self.created.map(|time| time.to_string());
        let own = [
            (REVISION, &self.revision),
            (SOURCE, &self.source),
            (CREATED, &created),
            (VERSION, &self.version),
        ];
        let mut labels: BTreeMap<String, String> = own
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect();
        labels.extend(explicit.clone());
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_written_and_what_is_explicit_wins() {
        let origin = ImageOrigin {
            revision: Some("abc".to_owned()),
            created: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            ..ImageOrigin::default()
        };
        let explicit = BTreeMap::from([
            (REVISION.to_owned(), "mine".to_owned()),
            ("team".to_owned(), "web".to_owned()),
        ]);
        let labels: Vec<(String, String)> = origin.labels(&explicit).into_iter().collect();
        let want = [(CREATED, "2026-01-02T03:04:05Z"), (REVISION, "mine"), ("team", "web")];
        assert_eq!(labels, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
