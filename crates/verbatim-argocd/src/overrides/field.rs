//! The values that stand alone in a source, and where. Pure.

/// Makes the enumeration, its list, and the places from one table.
macro_rules! fields {
    ($($(#[$doc:meta])+ $name:ident => $pointer:literal,)+) => {
        /// A value that stands alone in a source.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum SourceField {
            $($(#[$doc])+ $name,)+
        }

        impl SourceField {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Where it stands, below the source.
            pub(crate) fn pointer(self) -> &'static str {
                match self {
                    $(Self::$name => $pointer,)+
                }
            }
        }
    };
}

fields! {
    /// Values for Helm, as the text of a YAML file.
    HelmValues => "/helm/values",
    /// Values for Helm, as an object. Wins over the text.
    HelmValuesObject => "/helm/valuesObject",
    /// Files with values, all of them.
    HelmValueFiles => "/helm/valueFiles",
    /// Whether files with values may be missing.
    HelmIgnoreMissingValueFiles => "/helm/ignoreMissingValueFiles",
    /// The name of the Helm release.
    HelmReleaseName => "/helm/releaseName",
    /// The version of Helm.
    HelmVersion => "/helm/version",
    /// Whether other hosts than the repository's get its password.
    HelmPassCredentials => "/helm/passCredentials",
    /// Whether a chart's definitions of resources are left out.
    HelmSkipCrds => "/helm/skipCrds",
    /// Whether a chart's schema of its values is not asked.
    HelmSkipSchemaValidation => "/helm/skipSchemaValidation",
    /// Whether a chart's tests are left out.
    HelmSkipTests => "/helm/skipTests",
    /// The namespace that a chart is told.
    HelmNamespace => "/helm/namespace",
    /// The version of Kubernetes that a chart is told.
    HelmKubeVersion => "/helm/kubeVersion",
    /// The APIs that a chart is told.
    HelmApiVersions => "/helm/apiVersions",
    /// The prefix of all names.
    NamePrefix => "/kustomize/namePrefix",
    /// The suffix of all names.
    NameSuffix => "/kustomize/nameSuffix",
    /// The namespace of all objects.
    KustomizeNamespace => "/kustomize/namespace",
    /// The version of Kustomize.
    KustomizeVersion => "/kustomize/version",
    /// Labels of all objects.
    KustomizeCommonLabels => "/kustomize/commonLabels",
    /// Annotations of all objects.
    KustomizeCommonAnnotations => "/kustomize/commonAnnotations",
    /// Whether the labels stay out of selectors.
    KustomizeLabelWithoutSelector => "/kustomize/labelWithoutSelector",
    /// Whether the labels go into templates all the same.
    KustomizeLabelIncludeTemplates => "/kustomize/labelIncludeTemplates",
    /// Whether labels of the sources are replaced.
    KustomizeForceCommonLabels => "/kustomize/forceCommonLabels",
    /// Whether annotations of the sources are replaced.
    KustomizeForceCommonAnnotations => "/kustomize/forceCommonAnnotations",
    /// The version of Kubernetes that charts in a Kustomize folder are told.
    KustomizeKubeVersion => "/kustomize/kubeVersion",
    /// The APIs that charts in a Kustomize folder are told.
    KustomizeApiVersions => "/kustomize/apiVersions",
    /// Whether components may be missing.
    KustomizeIgnoreMissingComponents => "/kustomize/ignoreMissingComponents",
    /// The wanted branch, tag, commit or chart version.
    TargetRevision => "/targetRevision",
    /// What tags begin with that a range of versions chooses from.
    TagPrefix => "/tagPrefix",
}

impl SourceField {
    /// As plans and claims name it.
    pub(crate) fn name(self) -> String {
        self.pointer().trim_start_matches('/').replace('/', ".")
    }

    /// Whether it stands in the place of something that git says. The rest says which files are read, and how.
    pub(crate) fn is_override(self) -> bool {
        matches!(
            self,
            Self::HelmValues
                | Self::HelmValuesObject
                | Self::NamePrefix
                | Self::NameSuffix
                | Self::KustomizeNamespace
                | Self::KustomizeCommonLabels
                | Self::KustomizeCommonAnnotations
        )
    }
}
