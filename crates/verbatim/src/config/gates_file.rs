//! The shape of `gates:` as it is written: what serde reads, and what the JSON Schema is made from. Must not check what one
//! part says about another; that is `rules`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::located::Located;
use super::shapes::{FromName, Many, NameOr, Period};

/// The keys of [`GatesFile`], for the message about a gate that is not among them.
pub(super) const GATES: [&str; 11] = [
    "tested",
    "signed",
    "same_manifests",
    "soak",
    "approvals",
    "windows",
    "attested",
    "order",
    "freshness",
    "when",
    "on_rollback",
];

/// Conditions that a release must meet before it enters an environment. Locks and vetoes are always checked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatesFile {
    /// It passed these suites in an earlier environment.
    pub tested: Option<Many<TestedFile>>,
    /// A build record names a trusted builder, source and branch.
    pub signed: Option<SignedFile>,
    /// The environment in which it must be proven with the same charts and manifests.
    pub same_manifests: Option<Located<String>>,
    /// It has been healthy in an environment for some time.
    pub soak: Option<Many<SoakFile>>,
    /// Enough people approved.
    pub approvals: Option<Many<ApprovalsFile>>,
    /// The times at which releases may enter, or may not.
    pub windows: Option<Vec<WindowFile>>,
    /// Somebody made a statement about it, such as a vulnerability report.
    pub attested: Option<Many<AttestedFile>>,
    /// It is not older than the release that runs here.
    pub order: Option<NameOr<OrderFile>>,
    /// The longest time since it was built.
    pub freshness: Option<Located<Period>>,
    /// Conditions of your own in the Common Expression Language (CEL), each with a name.
    #[serde(default)]
    pub when: BTreeMap<Located<String>, Located<String>>,
    /// What is checked for rollbacks.
    #[serde(default)]
    pub on_rollback: OnRollbackFile,
}

/// Which tests must have passed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestedFile {
    /// The environment they ran in.
    #[serde(rename = "in")]
    pub environment: Located<String>,
    /// The suites. Default: all of that environment.
    #[serde(default)]
    pub suites: Vec<Located<String>>,
    /// How old the results may be. Default: any age.
    pub max_age: Option<Located<Period>>,
}

/// Which builds are trusted. In each text a `*` stands for anything.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedFile {
    /// Ids of builders, for example `urn:verbatim:builder:github`. Default: any whose key has the role `builder`.
    #[serde(default)]
    pub builders: Vec<Located<String>>,
    /// Repositories of the source, for example `https://github.com/acme/*`. Default: any.
    #[serde(default)]
    pub sources: Vec<Located<String>>,
    /// Branches. Default: any.
    #[serde(default)]
    pub branches: Vec<Located<String>>,
}

/// How long a release must have been healthy in an environment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoakFile {
    /// The environment.
    #[serde(rename = "in")]
    pub environment: Located<String>,
    /// How long.
    #[serde(rename = "for")]
    pub period: Located<Period>,
}

/// Which approvals are enough.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalsFile {
    /// How many keys must have approved. Default: 1.
    pub count: Option<Located<u32>>,
    /// The role their keys need.
    pub role: Located<String>,
    /// If true, approvals of whoever built or promotes the release do not count.
    #[serde(default)]
    pub not_author: bool,
    /// How old they may be. Default: any age.
    pub max_age: Option<Located<Period>>,
}

/// A window of time: `allow` or `deny`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowFile {
    /// Releases may enter while it is open: dates, days and times, for example `Mon-Thu 09:00-16:00`.
    pub allow: Option<Located<String>>,
    /// Releases may not enter while it is open: for example `12-20..01-06`.
    pub deny: Option<Located<String>>,
    /// The IANA name of the time zone. Default: UTC.
    pub timezone: Option<Located<String>>,
}

/// A statement about the release that somebody made, for example with `cosign attest`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttestedFile {
    /// Its predicate type.
    #[serde(rename = "type")]
    pub predicate_type: Located<String>,
    /// The role its key needs. Default: `tester`.
    pub role: Option<Located<String>>,
    /// The condition on `predicate`, in the Common Expression Language (CEL).
    pub when: Option<Located<String>>,
    /// The field of the predicate with its time, for example `metadata.scanFinishedOn`: then only the latest statement
    /// counts. Without it, `when` must hold for all of them.
    pub time: Option<Located<String>>,
    /// How old the latest may be. Needs `time`.
    pub max_age: Option<Located<Period>>,
}

/// How a release must compare to the one that runs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderFile {
    /// What is done with a release that cannot be compared. Default: `refuse`.
    #[serde(default)]
    pub unrelated: Unrelated,
}

/// What is done with a release that cannot be compared with the one that runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unrelated {
    /// It is let in.
    Allow,
    /// It is kept out.
    #[default]
    Refuse,
}

impl FromName for OrderFile {
    const EXPECTED: &'static str = "`newer`, or a mapping with `unrelated`";

    fn try_from_name(name: String) -> Option<Self> {
        (name == "newer").then(|| Self { unrelated: Unrelated::default() })
    }
}

/// How the checks of a rollback differ from the usual ones.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnRollbackFile {
    /// Gates to check although rollbacks usually skip them: `windows`, `soak`, `order`, `approvals`, `freshness`.
    #[serde(default)]
    pub ask: Vec<Located<String>>,
    /// Gates to skip. Never `signed`, `vetoed` or `locked`.
    #[serde(default)]
    pub skip: Vec<Located<String>>,
}
