//! The tables of what is only looked at, in the words of [`super::tables`].

use anyhow::Result;

use super::objects::{any, same_changes, same_json, same_lines, same_yaml};

/// Something that is only looked at, with the exit statuses of both.
pub(crate) struct Reading {
    pub(crate) theirs: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) codes: (i32, i32),
    pub(crate) compare: fn(&str, &str) -> Result<()>,
}

const fn reading(
    theirs: &'static str,
    ours: &'static str,
    compare: fn(&str, &str) -> Result<()>,
) -> Reading {
    Reading { theirs, ours, codes: (0, 0), compare }
}

pub(crate) const READINGS: &[Reading] = &[
    reading("app list -l twin=APP -o name", "list -l twin=APP -o name", same_lines),
    reading("app list -l twin=APP -o json", "list -l twin=APP -o json", same_json),
    reading("app get APP -o json", "get APP -o json", same_json),
    reading("app get APP --refresh -o json", "get APP --refresh -o json", any),
    reading("app get APP --hard-refresh -o yaml", "get APP --hard-refresh -o yaml", any),
    reading("app get APP -o yaml", "get APP -o yaml", same_yaml),
    reading(
        "app get APP --show-params --show-operation",
        "get APP --show-params --show-operation",
        any,
    ),
    reading("app get APP -o tree", "get APP -o tree", any),
    reading("app manifests APP", "manifests APP", same_yaml),
    reading("app manifests APP --revision less", "manifests APP --revision less", same_yaml),
    reading("app manifests APP --source live", "manifests APP --source live", same_yaml),
    reading("app history APP -o id", "history APP -o id", same_lines),
    reading("app history APP", "history APP", any),
    reading("app resources APP", "resources APP", any),
    reading("app diff APP", "diff APP", same_lines),
    reading(
        "app actions list APP --kind Deployment -o json",
        "actions list APP --kind Deployment -o json",
        same_json,
    ),
    reading(
        "app get-resource APP --kind Service --resource-name APP -o json",
        "get-resource APP --kind Service --resource-name APP -o json",
        same_json,
    ),
    reading(
        "app get-resource APP --kind Deployment --filter-fields spec.replicas,spec.selector -o json",
        "get-resource APP --kind Deployment --filter-fields spec.replicas,spec.selector -o json",
        same_json,
    ),
    reading("app get-resource APP --kind Service", "get-resource APP --kind Service", any),
    Reading {
        theirs: "app diff APP --revision less",
        ours: "diff APP --revision less",
        codes: (1, 1),
        compare: same_changes,
    },
    Reading {
        theirs: "app diff APP --revision main",
        ours: "diff APP --revision main",
        codes: (0, 0),
        compare: same_lines,
    },
    reading("cluster list -o json", "cluster list -o json", same_json),
    reading("cluster list -o server", "cluster list -o server", same_lines),
    reading("proj list -o json", "project list -o json", same_json),
    reading("proj list -o name", "project list -o name", same_lines),
    reading(
        "account can-i sync applications default/APP",
        "can-i sync applications default/APP",
        same_lines,
    ),
    reading("account get-user-info", "whoami", any),
    reading("version", "version", any),
    reading(
        "app wait APP --sync --health --operation",
        "wait APP --sync --health --operation",
        any,
    ),
    reading(
        "app wait APP --resource apps:Deployment:APP",
        "wait APP --resource apps:Deployment:APP",
        any,
    ),
    // Not so at the deadline: 20 is theirs for every error.
    Reading {
        theirs: "app wait APP --suspended --timeout 2",
        ours: "wait APP --suspended --timeout 2",
        codes: (20, 4),
        compare: |_, _| Ok(()),
    },
    Reading {
        theirs: "app get no-such-app",
        ours: "get no-such-app",
        codes: (20, 7),
        compare: |_, _| Ok(()),
    },
    // The last ones, since they leave the application out of sync.
    reading("app set APP --helm-set-string environment=twin", "get APP --show-params", |_, _| {
        Ok(())
    }),
    Reading { theirs: "app diff APP", ours: "diff APP", codes: (1, 1), compare: any },
    Reading {
        theirs: "app diff APP --exit-code=false",
        ours: "diff APP --exit-code=false",
        codes: (0, 0),
        compare: any,
    },
];

/// What is told of an application in the namespace WHERE.
pub(crate) const READINGS_ELSEWHERE: &[Reading] = &[
    reading("app list -N WHERE -o name", "list -N WHERE -o name", same_lines),
    reading("app list -N WHERE -o json", "list -N WHERE -o json", same_json),
    reading("app get WHERE/APP -o json", "get WHERE/APP -o json", same_json),
    reading("app manifests APP -N WHERE", "manifests APP -N WHERE", same_yaml),
    reading(
        "app manifests WHERE/APP --source live",
        "manifests WHERE/APP --source live",
        same_yaml,
    ),
    reading("app history WHERE/APP -o id", "history WHERE/APP -o id", same_lines),
    reading("app resources WHERE/APP", "resources WHERE/APP", any),
    reading("app diff APP --app-namespace WHERE", "diff APP --app-namespace WHERE", same_lines),
    reading(
        "account can-i sync applications WHERE/WHERE/APP",
        "can-i sync applications WHERE/WHERE/APP",
        same_lines,
    ),
];

/// What is told of an application with several sources.
pub(crate) const READINGS_OF_SEVERAL: &[Reading] = &[
    reading("app get APP -o json", "get APP -o json", same_json),
    reading("app manifests APP", "manifests APP", same_yaml),
    reading(
        "app manifests APP --revisions less --source-positions 2",
        "manifests APP --revisions less --source-positions 2",
        same_yaml,
    ),
    reading(
        "app manifests APP --revisions less --source-positions 1 --revisions less --source-positions 2",
        "manifests APP --revisions less --source-positions 1 --revisions less --source-positions 2",
        same_yaml,
    ),
    reading("app diff APP", "diff APP", same_lines),
    reading("app history APP -o id", "history APP -o id", same_lines),
];
