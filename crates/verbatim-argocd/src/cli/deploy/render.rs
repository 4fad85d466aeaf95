//! How sources are rendered: the options of `override` and `create` beside values.

use clap::Args;
use serde_json::{Map, Value, json};
use verbatim_console::Failure;

use crate::cli::shared::values::pair;
use crate::overrides::values::{OverrideKey, SourceField};

/// Rendering
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Rendering")]
pub struct RenderArgs {
    /// Name of the Helm release
    #[arg(long, value_name = "NAME")]
    release_name: Option<String>,

    /// Allow missing Helm value files
    #[arg(long)]
    ignore_missing_value_files: bool,

    /// Helm version
    #[arg(long, value_name = "VERSION")]
    helm_version: Option<String>,

    /// Send the repository's password to other hosts too
    #[arg(long)]
    helm_pass_credentials: bool,

    /// Skip the chart's CRDs
    #[arg(long)]
    helm_skip_crds: bool,

    /// Skip validation by the chart's schema
    #[arg(long)]
    helm_skip_schema_validation: bool,

    /// Skip the chart's tests
    #[arg(long)]
    helm_skip_tests: bool,

    /// Namespace passed to Helm [default: that of the objects]
    #[arg(long, value_name = "NAMESPACE")]
    helm_namespace: Option<String>,

    /// Kubernetes version passed to Helm [default: the cluster's]
    #[arg(long, value_name = "VERSION")]
    helm_kube_version: Option<String>,

    /// API passed to Helm, [GROUP/]VERSION/KIND (repeatable) [default: the cluster's]
    #[arg(long, value_name = "API")]
    helm_api_versions: Vec<String>,

    /// Kustomize version
    #[arg(long, value_name = "VERSION")]
    kustomize_version: Option<String>,

    /// Label for all objects, for Kustomize (repeatable); replaces the current ones
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    kustomize_common_label: Vec<(String, String)>,

    /// Annotation for all objects, for Kustomize (repeatable); replaces the current ones
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    kustomize_common_annotation: Vec<(String, String)>,

    /// Add the labels to neither selectors nor templates
    #[arg(long)]
    kustomize_label_without_selector: bool,

    /// Add the labels to templates nevertheless
    #[arg(long)]
    kustomize_label_include_templates: bool,

    /// Override labels from the sources
    #[arg(long)]
    kustomize_force_common_label: bool,

    /// Override annotations from the sources
    #[arg(long)]
    kustomize_force_common_annotation: bool,

    /// Kubernetes version passed to charts in a Kustomize folder
    #[arg(long, value_name = "VERSION")]
    kustomize_kube_version: Option<String>,

    /// API passed to charts in a Kustomize folder (repeatable)
    #[arg(long, value_name = "API")]
    kustomize_api_versions: Vec<String>,

    /// Allow missing Kustomize components
    #[arg(long)]
    ignore_missing_components: bool,

    /// Prefix of the tags that a version range in --revision chooses from
    #[arg(long, value_name = "PREFIX")]
    tag_prefix: Option<String>,
}

impl RenderArgs {
    /// What is given.
    pub(crate) fn values(&self) -> Result<Vec<(OverrideKey, Value)>, Failure> {
        let texts = [
            (SourceField::HelmReleaseName, &self.release_name),
            (SourceField::HelmVersion, &self.helm_version),
            (SourceField::HelmNamespace, &self.helm_namespace),
            (SourceField::HelmKubeVersion, &self.helm_kube_version),
            (SourceField::KustomizeVersion, &self.kustomize_version),
            (SourceField::KustomizeKubeVersion, &self.kustomize_kube_version),
            (SourceField::TagPrefix, &self.tag_prefix),
        ];
        let switches = [
            (SourceField::HelmIgnoreMissingValueFiles, self.ignore_missing_value_files),
            (SourceField::HelmPassCredentials, self.helm_pass_credentials),
            (SourceField::HelmSkipCrds, self.helm_skip_crds),
            (SourceField::HelmSkipSchemaValidation, self.helm_skip_schema_validation),
            (SourceField::HelmSkipTests, self.helm_skip_tests),
            (SourceField::KustomizeLabelWithoutSelector, self.kustomize_label_without_selector),
            (SourceField::KustomizeLabelIncludeTemplates, self.kustomize_label_include_templates),
            (SourceField::KustomizeForceCommonLabels, self.kustomize_force_common_label),
            (SourceField::KustomizeForceCommonAnnotations, self.kustomize_force_common_annotation),
            (SourceField::KustomizeIgnoreMissingComponents, self.ignore_missing_components),
        ];
        let lists = [
            (SourceField::HelmApiVersions, &self.helm_api_versions),
            (SourceField::KustomizeApiVersions, &self.kustomize_api_versions),
        ];
        let maps = [
            (SourceField::KustomizeCommonLabels, map(&self.kustomize_common_label)?),
            (SourceField::KustomizeCommonAnnotations, map(&self.kustomize_common_annotation)?),
        ];
        let texts =
            texts.into_iter().filter_map(|(field, text)| Some((field, json!(text.as_ref()?))));
        let switches =
            switches.into_iter().filter(|(_, on)| *on).map(|(field, on)| (field, json!(on)));
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let lists = lists.map(|(field, list)| (field, json!(list)));
        let maps = maps.into_iter().filter(|(_, map)| !map.is_empty());
        let maps = maps.map(|(field, map)| (field, Value::Object(map)));
        let all = texts.chain(switches).chain(lists).chain(maps);
        Ok(all.map(|(field, value)| (OverrideKey::Field(field), value)).collect())
    }
}

fn map(pairs: &[(String, String)]) -> Result<Map<String, Value>, Failure> {
    let mut map = Map::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), json!(value)).is_some() {
            return Err(Failure::usage(format!("{name} is given twice")));
        }
    }
    Ok(map)
}
