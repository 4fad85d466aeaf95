//! The tables: what argocd is told, and what we are told for the same. `APP` is the application, `REPO` its repository,
//! `WHERE` its namespace.

/// A change, and which parts of the application it shows in.
pub(crate) struct Change {
    pub(crate) what: &'static str,
    /// The folder of the application.
    pub(crate) folder: &'static str,
    /// What argocd does with both before.
    pub(crate) before: &'static [&'static str],
    pub(crate) theirs: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) sees: &'static [&'static str],
}

pub(crate) const SPEC: &[&str] = &["/spec", "/metadata/labels", "/metadata/finalizers"];

/// What a sync did, and what it was asked to do.
const SYNC: &[&str] = &[
    "/spec",
    "/operation",
    "/status/sync/status",
    "/status/health/status",
    "/status/operationState/phase",
    "/status/operationState/operation",
    "/status/operationState/syncResult",
    "/status/history",
];

/// The same, where the health is not waited for by argocd.
pub(crate) const OPERATION: &[&str] = &[
    "/spec",
    "/operation",
    "/status/operationState/phase",
    "/status/operationState/operation",
    "/status/history",
];

const fn write(
    what: &'static str,
    folder: &'static str,
    theirs: &'static str,
    ours: &'static str,
) -> Change {
    Change { what, folder, before: &[], theirs, ours, sees: SPEC }
}

pub(crate) const CHANGES: &[Change] = &[
    write(
        "a Helm parameter",
        "chart",
        "app set APP --helm-set-string image.tag=1.10",
        "override APP --helm-set-string image.tag=1.10",
    ),
    write(
        "two Helm parameters",
        "chart",
        "app set APP --helm-set-string image.tag=1 --helm-set-string replicas=2",
        "override APP --helm-set image.tag=1 --helm-set-string replicas=2",
    ),
    write(
        "parameters that Helm types",
        "chart",
        "app set APP --helm-set off=false --helm-set on=true -p replicas=2",
        "override APP --helm-set off=false --helm-set on=true -p replicas=2",
    ),
    write(
        "a file parameter",
        "chart",
        "app set APP --helm-set-file environment=values.yaml",
        "override APP --helm-set-file environment=values.yaml",
    ),
    write(
        "a file with values",
        "chart",
        "app set APP --values values.yaml",
        "override APP --values values.yaml",
    ),
    write("a revision", "chart", "app set APP --revision less", "override APP --revision less"),
    write(
        "a Kustomize image",
        "kustomize",
        "app set APP --kustomize-image web=example.invalid/web:2",
        "override APP --kustomize-image web=example.invalid/web:2",
    ),
    write(
        "replicas",
        "kustomize",
        "app set APP --kustomize-replica web-kustomize=2",
        "override APP --kustomize-replica web-kustomize=2",
    ),
    write(
        "a prefix and a suffix",
        "kustomize",
        "app set APP --nameprefix a- --namesuffix -z",
        "override APP --nameprefix a- --namesuffix -z",
    ),
    write(
        "a namespace of Kustomize",
        "kustomize",
        "app set APP --kustomize-namespace other",
        "override APP --kustomize-namespace other",
    ),
    write(
        "a variable of a plugin",
        "plugin",
        "app set APP --plugin-env COLOR=red",
        "override APP --plugin-env COLOR=red",
    ),
    write(
        "a parameter of a plugin",
        "plugin",
        r#"app patch APP --type json --patch [{"op":"add","path":"/spec/source/plugin/parameters","value":[{"name":"size","string":"xl"}]}]"#,
        "override APP --plugin-parameter size=xl",
    ),
    Change {
        what: "a list and a map for a plugin",
        folder: "plugin",
        before: &["app set APP --plugin-env COLOR=red"],
        theirs: r#"app patch APP --type json --patch [{"op":"add","path":"/spec/source/plugin/parameters","value":[{"name":"places","map":{"eu":"1"}},{"name":"sizes","array":["m","xl"]}]}]"#,
        ours: r#"override APP --plugin-parameter sizes=["m","xl"] --plugin-parameter places={"eu":"1"}"#,
        sees: SPEC,
    },
    Change {
        what: "one variable and one parameter of a plugin less",
        folder: "plugin",
        before: &[
            "app set APP --plugin-env COLOR=red --plugin-env SHAPE=round",
            r#"app patch APP --type json --patch [{"op":"add","path":"/spec/source/plugin/parameters","value":[{"name":"a","string":"1"},{"name":"b","string":"2"}]}]"#,
        ],
        theirs: r#"app patch APP --type json --patch [{"op":"remove","path":"/spec/source/plugin/parameters/0"},{"op":"remove","path":"/spec/source/plugin/env/0"}]"#,
        ours: "unset APP --plugin-parameter a --plugin-env COLOR",
        sees: SPEC,
    },
    Change {
        what: "the last variable of a plugin less",
        folder: "plugin",
        before: &["app set APP --plugin-env COLOR=red"],
        theirs: "app unset APP --plugin-env COLOR",
        ours: "unset APP --plugin-env COLOR",
        sees: SPEC,
    },
    Change {
        what: "a sync of what a plugin makes",
        folder: "plugin",
        before: &[
            "app set APP --plugin-env COLOR=red",
            r#"app patch APP --type json --patch [{"op":"add","path":"/spec/source/plugin/parameters","value":[{"name":"size","string":"xl"}]}]"#,
        ],
        theirs: "app sync APP",
        ours: "sync APP",
        sees: OPERATION,
    },
    write(
        "a Helm parameter of the second source, by its position",
        "several",
        "app set APP --source-position 2 --helm-set-string image.tag=2",
        "override APP --source-position 2 --helm-set image.tag=2",
    ),
    write(
        "a Helm parameter of the second source, by its name",
        "several",
        "app set APP --source-name two --helm-set-string image.tag=2",
        "override APP --source-name two --helm-set image.tag=2",
    ),
    write(
        "a revision of the second source",
        "several",
        "app set APP --source-position 2 --revision less",
        "override APP --source-position 2 --revision less",
    ),
    Change {
        what: "a Helm parameter of the second source less",
        folder: "several",
        before: &["app set APP --source-position 2 --helm-set-string image.tag=2"],
        theirs: "app unset APP --source-position 2 -p image.tag",
        ours: "unset APP --source-position 2 -p image.tag",
        sees: SPEC,
    },
    Change {
        what: "a sync with one source at another revision",
        folder: "several",
        before: &[],
        theirs: "app sync APP --revisions less --source-positions 2",
        ours: "sync APP --revisions less --source-positions 2",
        sees: OPERATION,
    },
    Change {
        what: "a sync with both sources at other revisions",
        folder: "several",
        before: &["app sync APP"],
        theirs: "app sync APP --prune --revisions less --source-positions 2 --revisions less --source-positions 1",
        ours: "sync APP --prune --revisions less --source-positions 2 --revisions less --source-positions 1",
        sees: OPERATION,
    },
    write(
        "how Helm renders",
        "chart",
        "app set APP --release-name APP-x --helm-skip-crds --helm-skip-tests --helm-skip-schema-validation \
         --helm-pass-credentials --ignore-missing-value-files --helm-namespace other --helm-kube-version 1.30.0 \
         --helm-api-versions v1/Service",
        "override APP --release-name APP-x --helm-skip-crds --helm-skip-tests --helm-skip-schema-validation \
         --helm-pass-credentials --ignore-missing-value-files --helm-namespace other --helm-kube-version 1.30.0 \
         --helm-api-versions v1/Service",
    ),
    write(
        "how Kustomize renders",
        "kustomize",
        "app set APP --kustomize-common-label a=b --kustomize-common-annotation c=d --kustomize-label-without-selector \
         --kustomize-label-include-templates --kustomize-force-common-label --kustomize-force-common-annotation \
         --ignore-missing-components",
        "override APP --kustomize-common-label a=b --kustomize-common-annotation c=d --kustomize-label-without-selector \
         --kustomize-label-include-templates --kustomize-force-common-label --kustomize-force-common-annotation \
         --ignore-missing-components",
    ),
    Change {
        what: "how both render less",
        folder: "chart",
        before: &["app set APP --helm-pass-credentials --ignore-missing-value-files"],
        theirs: "app unset APP --pass-credentials --ignore-missing-value-files",
        ours: "unset APP --pass-credentials --ignore-missing-value-files",
        sees: SPEC,
    },
    // Of names that no other application has: it syncs by itself.
    Change {
        what: "an application that syncs by itself",
        folder: "kustomize",
        before: &["app set APP --nameprefix APP- --sync-option Prune=false"],
        theirs: "app set APP --sync-policy automated --auto-prune --self-heal --sync-option CreateNamespace=true \
                 --sync-option !Prune=false --sync-retry-limit 3 --sync-retry-refresh",
        ours: "set APP --sync-policy automated --auto-prune --self-heal --sync-option CreateNamespace=true \
               --sync-option !Prune=false --sync-retry-limit 3 --sync-retry-refresh",
        sees: SPEC,
    },
    write(
        "a switch of an application that does not sync by itself",
        "chart",
        "app set APP --auto-prune --allow-empty=false",
        "set APP --auto-prune --allow-empty=false",
    ),
    Change {
        what: "an application that does not sync by itself any more",
        folder: "chart",
        before: &["app set APP --auto-prune --sync-option A=1"],
        theirs: "app set APP --sync-policy none --sync-option !A=1",
        ours: "set APP --sync-policy none --sync-option !A=1",
        sees: SPEC,
    },
    write(
        "a destination and a shorter history",
        "chart",
        "app set APP --dest-namespace other --revision-history-limit 3",
        "set APP --dest-namespace other --revision-history-limit 3",
    ),
    write(
        "a merge patch",
        "chart",
        r#"app patch APP --type merge --patch {"spec":{"source":{"path":"kustomize"},"revisionHistoryLimit":4}}"#,
        r#"patch APP --type merge --patch {"spec":{"source":{"path":"kustomize"},"revisionHistoryLimit":4}}"#,
    ),
    write(
        "a JSON patch",
        "chart",
        r#"app patch APP --patch [{"op":"replace","path":"/spec/source/path","value":"kustomize"}]"#,
        r#"patch APP --patch [{"op":"replace","path":"/spec/source/path","value":"kustomize"}]"#,
    ),
    Change {
        what: "an action on an object",
        folder: "chart",
        before: &["app sync APP"],
        theirs: "app actions run APP restart --kind Deployment",
        ours: "actions run APP restart --kind Deployment",
        sees: SPEC,
    },
    Change {
        what: "an action on the application itself",
        folder: "kustomize",
        before: &["app set APP --nameprefix APP-"],
        theirs: "app actions run APP toggle-auto-sync --kind Application",
        ours: "actions run APP toggle-auto-sync --kind Application",
        sees: SPEC,
    },
    Change {
        what: "a patch of an object",
        folder: "chart",
        before: &["app sync APP"],
        theirs: r#"app patch-resource APP --kind Deployment --resource-name APP --patch {"spec":{"revisionHistoryLimit":4}}"#,
        ours: r#"patch-resource APP --kind Deployment --resource-name APP --patch {"spec":{"revisionHistoryLimit":4}}"#,
        sees: SPEC,
    },
    Change {
        what: "an object less",
        folder: "chart",
        before: &["app sync APP"],
        theirs: "app delete-resource APP --kind Deployment --force",
        ours: "delete-resource APP --kind Deployment --force",
        sees: SPEC,
    },
    Change {
        what: "a second value of a Helm parameter",
        folder: "chart",
        before: &["app set APP --helm-set-string image.tag=1 --helm-set-string port=81"],
        theirs: "app set APP --helm-set-string image.tag=2",
        ours: "override APP --helm-set image.tag=2",
        sees: SPEC,
    },
    Change {
        what: "one Helm parameter less",
        folder: "chart",
        before: &["app set APP --helm-set-string image.tag=1 --helm-set-string port=81"],
        theirs: "app unset APP -p image.tag",
        ours: "unset APP -p image.tag",
        sees: SPEC,
    },
    Change {
        what: "the last Helm parameter less",
        folder: "chart",
        before: &["app set APP --helm-set-string image.tag=1"],
        theirs: "app unset APP -p image.tag",
        ours: "unset APP -p image.tag",
        sees: SPEC,
    },
    Change {
        what: "values from a file less",
        folder: "chart",
        before: &["app set APP --values values.yaml"],
        theirs: "app unset APP --values values.yaml",
        ours: "unset APP --all-values",
        sees: SPEC,
    },
    Change {
        what: "values from one of two files less",
        folder: "chart",
        before: &["app set APP --values values.yaml --values Chart.yaml"],
        theirs: "app unset APP --values values.yaml",
        ours: "unset APP --values values.yaml",
        sees: SPEC,
    },
    Change {
        what: "everything of Kustomize less",
        folder: "kustomize",
        before: &[
            "app set APP --kustomize-image web=example.invalid/web:2 --nameprefix a- --namesuffix -z \
             --kustomize-replica web-kustomize=2 --kustomize-namespace other",
        ],
        theirs: "app unset APP --kustomize-image web --nameprefix --namesuffix --kustomize-replica web-kustomize \
                 --kustomize-namespace",
        ours: "unset APP --kustomize-image web --nameprefix --namesuffix --kustomize-replica web-kustomize \
               --kustomize-namespace",
        sees: SPEC,
    },
    Change {
        what: "a sync",
        folder: "chart",
        before: &["app set APP --helm-set-string image.tag=1"],
        theirs: "app sync APP",
        ours: "sync APP",
        sees: OPERATION,
    },
    Change {
        what: "a sync and a wait",
        folder: "chart",
        before: &["app sync APP", "app set APP --helm-set-string image.tag=1", "app sync APP"],
        theirs: "app wait APP --sync --health --operation",
        ours: "wait APP",
        sees: SYNC,
    },
    Change {
        what: "a sync that prunes",
        folder: "chart",
        before: &["app sync APP", "app set APP --revision less"],
        theirs: "app sync APP --prune",
        ours: "sync APP --prune",
        sees: OPERATION,
    },
    Change {
        what: "a dry run",
        folder: "chart",
        before: &["app sync APP", "app set APP --helm-set-string image.tag=1"],
        theirs: "app sync APP --dry-run",
        ours: "sync APP --dry-run",
        sees: OPERATION,
    },
    Change {
        what: "a sync of one resource",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --resource :Service:APP",
        ours: "sync APP --resource :Service:APP",
        sees: OPERATION,
    },
    Change {
        what: "a sync of all but one resource",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --resource !apps:Deployment:APP",
        ours: "sync APP --resource !apps:Deployment:APP",
        sees: OPERATION,
    },
    Change {
        what: "a sync of what has a label",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --label app.kubernetes.io/name=web",
        ours: "sync APP --label app.kubernetes.io/name=web",
        sees: OPERATION,
    },
    Change {
        what: "a sync to another revision",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --revision less",
        ours: "sync APP --revision less",
        sees: OPERATION,
    },
    Change {
        what: "a sync without hooks, by force",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --strategy apply --force",
        ours: "sync APP --strategy apply --force",
        sees: OPERATION,
    },
    Change {
        what: "options of a sync",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --server-side --apply-out-of-sync-only",
        ours: "sync APP --server-side --apply-out-of-sync-only",
        sees: OPERATION,
    },
    Change {
        what: "a sync that is tried again",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --retry-limit 3 --retry-backoff-duration 1s --retry-backoff-factor 3 --retry-refresh",
        ours: "sync APP --retry-limit 3 --retry-backoff-duration 1s --retry-backoff-factor 3 --retry-refresh",
        sees: OPERATION,
    },
    Change {
        what: "a pair with a sync",
        folder: "chart",
        before: &[],
        theirs: "app sync APP --info run=7",
        ours: "sync APP --info run=7",
        sees: OPERATION,
    },
    Change {
        what: "a rollback",
        folder: "chart",
        before: &["app sync APP", "app set APP --helm-set-string image.tag=1", "app sync APP"],
        theirs: "app rollback APP 0",
        ours: "rollback APP 0",
        sees: OPERATION,
    },
    Change {
        what: "a rollback to the deployment before the last",
        folder: "chart",
        before: &["app sync APP", "app set APP --helm-set-string image.tag=1", "app sync APP"],
        theirs: "app rollback APP",
        ours: "rollback APP",
        sees: OPERATION,
    },
];

/// What is done to applications in the namespace WHERE. `-N` and `WHERE/` take turns.
pub(crate) const ELSEWHERE: &[Change] = &[
    write(
        "a Helm parameter",
        "chart",
        "app set WHERE/APP --helm-set-string image.tag=1.10",
        "override WHERE/APP --helm-set image.tag=1.10",
    ),
    Change {
        what: "a Helm parameter less",
        folder: "chart",
        before: &["app set APP -N WHERE --helm-set-string image.tag=1 --helm-set-string port=81"],
        theirs: "app unset APP -N WHERE -p image.tag",
        ours: "unset APP -N WHERE -p image.tag",
        sees: SPEC,
    },
    Change {
        what: "a sync",
        folder: "chart",
        before: &["app set WHERE/APP --helm-set-string image.tag=1"],
        theirs: "app sync WHERE/APP",
        ours: "sync WHERE/APP",
        sees: OPERATION,
    },
    Change {
        what: "a sync of a selector",
        folder: "chart",
        before: &[],
        theirs: "app sync -l twin=APP -N WHERE",
        ours: "sync -l twin=APP -N WHERE",
        sees: OPERATION,
    },
    Change {
        what: "a sync and a wait",
        folder: "chart",
        before: &["app sync WHERE/APP"],
        theirs: "app wait WHERE/APP --sync --health --operation",
        ours: "wait APP --app-namespace WHERE",
        sees: SYNC,
    },
    Change {
        what: "a rollback",
        folder: "chart",
        before: &[
            "app sync WHERE/APP",
            "app set WHERE/APP --helm-set-string image.tag=1",
            "app sync WHERE/APP",
        ],
        theirs: "app rollback WHERE/APP 0",
        ours: "rollback WHERE/APP 0",
        sees: OPERATION,
    },
];

/// An application that is made.
pub(crate) struct Create {
    pub(crate) theirs: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) sees: &'static [&'static str],
}

/// Everything that a document says.
pub(crate) const WHOLE: &[&str] =
    &["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/finalizers"];

pub(crate) const CREATES_ELSEWHERE: &[Create] = &[Create {
    theirs: "app create APP -N WHERE --project WHERE --repo REPO --path chart --revision main --dest-name in-cluster \
             --dest-namespace default",
    ours: "create WHERE/APP --project WHERE --repo REPO --path chart --revision main --dest-name in-cluster \
           --dest-namespace default",
    sees: WHOLE,
}];

pub(crate) const CREATES: &[Create] = &[
    Create {
        theirs: "app create APP --repo REPO --path plain --revision main --dest-namespace default --dest-server \
                 https://kubernetes.default.svc --config-management-plugin rig --plugin-env COLOR=red",
        ours: "create APP --repo REPO --path plain --revision main --dest-namespace default --dest-server \
               https://kubernetes.default.svc --config-management-plugin rig --plugin-env COLOR=red",
        sees: WHOLE,
    },
    Create {
        theirs: "app create APP --repo REPO --path chart --revision main --dest-namespace default --dest-server \
                 https://kubernetes.default.svc --helm-set-string image.tag=1 --release-name web -l team=web \
                 --annotations note=x --sync-option CreateNamespace=true --revision-history-limit 3 --set-finalizer",
        ours: "create APP --repo REPO --path chart --revision main --dest-namespace default --dest-server \
               https://kubernetes.default.svc --helm-set-string image.tag=1 --release-name web -l team=web \
               --annotations note=x --sync-option CreateNamespace=true --revision-history-limit 3 --set-finalizer",
        sees: WHOLE,
    },
    Create {
        theirs: "app create APP --repo REPO --path kustomize --revision main --dest-namespace default --dest-name in-cluster \
                 --kustomize-image web=example.invalid/web:2 --nameprefix APP- --project default \
                 --sync-policy automated --auto-prune --self-heal",
        ours: "create APP --repo REPO --path kustomize --revision main --dest-namespace default --dest-name in-cluster \
               --kustomize-image web=example.invalid/web:2 --nameprefix APP- --project default \
               --sync-policy automated --auto-prune --self-heal",
        sees: WHOLE,
    },
    Create {
        theirs: "app create APP --repo REPO --path plain --revision main --dest-namespace default --dest-server \
                 https://kubernetes.default.svc --directory-recurse --validate=false",
        ours: "create APP --repo REPO --path plain --revision main --dest-namespace default --dest-server \
               https://kubernetes.default.svc --directory-recurse --validate=false",
        sees: WHOLE,
    },
];
