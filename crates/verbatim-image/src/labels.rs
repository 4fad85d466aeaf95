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

/// The begin of 1980 in UTC, in seconds since 1970: what ZIP archives, Java archives and Python wheels cannot go below.
const EARLIEST_FILE: i64 = 315_532_800;

/// The time of every file of a build context, in seconds since 1970: that of the source, or the earliest one that every tool in
/// a build can put into an archive.
pub(crate) fn file_time(source: Option<jiff::Timestamp>) -> u64 {
    let seconds = source.map_or(EARLIEST_FILE, jiff::Timestamp::as_second);
    u64::try_from(seconds.max(EARLIEST_FILE)).unwrap_or_default()
}

/// The time of the source as the environment sets it for reproducible builds: whole seconds since 1970, see the
/// [specification](https://reproducible-builds.org/specs/source-date-epoch/).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceDateEpoch(jiff::Timestamp);

impl SourceDateEpoch {
    /// The variable that sets it; a Dockerfile gets it as an argument of the same name.
    pub const VARIABLE: &str = "SOURCE_DATE_EPOCH";

    /// The time.
    pub fn time(self) -> jiff::Timestamp {
        self.0
    }
}

/// What is wrong with a [`SourceDateEpoch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SOURCE_DATE_EPOCH is `{0}`, not a number of seconds since 1970")]
pub struct SourceDateEpochError(String);

impl std::str::FromStr for SourceDateEpoch {
    type Err = SourceDateEpochError;

    fn from_str(text: &str) -> Result<Self, SourceDateEpochError> {
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse().ok().filter(|_| is_digits);
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map(Self).ok_or_else(|| SourceDateEpochError(text.to_owned()))
    }
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
    fn files_are_as_old_as_the_commit_and_no_older_than_archives_can_say() {
        for (created, want) in [
            (Some("2026-01-31T12:00:00.9Z"), 1_769_860_800),
            (Some("1980-01-01T00:00:00Z"), 315_532_800),
            (Some("1970-01-01T00:00:00Z"), 315_532_800),
            (Some("1901-01-01T00:00:00Z"), 315_532_800),
            (None, 315_532_800),
        ] {
            let created = created.map(|time| time.parse().unwrap());
            assert_eq!(file_time(created), want, "{created:?}");
        }
    }

    #[test]
    fn the_epoch_of_a_job_is_a_number_of_seconds() {
        for (text, want) in [("1769860800", Some(1_769_860_800)), ("0", Some(0))] {
            let got = text.parse::<SourceDateEpoch>().ok().map(|epoch| epoch.time().as_second());
            assert_eq!(got, want, "{text}");
        }
        for text in ["", "-1", "+1", " 1", "1.5", "2026-01-31T12:00:00Z", "99999999999999999999"] {
            let error = text.parse::<SourceDateEpoch>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds since 1970")
            );
        }
    }

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
