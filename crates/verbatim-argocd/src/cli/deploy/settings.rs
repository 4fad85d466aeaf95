//! `unset`, and the values of `override` that only it has: everything beside Helm parameters and Kustomize images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use verbatim_console::Failure;

use crate::cli::deploy::render::RenderArgs;
use crate::cli::shared::server::read;
use crate::cli::shared::values::pair;
use crate::overrides::values::{OverrideKey, OverrideValues, SourceChoice, SourceField};

/// Other values
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "More values")]
pub struct SettingArgs {
    /// Set a Helm parameter to the text of a file in the repository (repeatable)
    #[arg(long, value_name = "NAME=PATH", value_parser = pair)]
    helm_set_file: Vec<(String, String)>,

    /// Set Helm values to the text of this YAML file, replacing the current values
    #[arg(long, value_name = "FILE")]
    values_literal_file: Option<PathBuf>,

    /// Helm value file in the repository (repeatable); replaces the current list
    #[arg(long, value_name = "PATH")]
    values: Vec<String>,

    /// Replicas of a workload, for Kustomize (repeatable)
    #[arg(long, value_name = "NAME=COUNT", value_parser = count)]
    kustomize_replica: Vec<(String, i64)>,

    /// Prefix of all names, for Kustomize
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    nameprefix: Option<String>,

    /// Suffix of all names, for Kustomize
    #[arg(long, value_name = "SUFFIX", allow_hyphen_values = true)]
    namesuffix: Option<String>,

    /// Namespace of all objects, for Kustomize
    #[arg(long, value_name = "NAMESPACE")]
    kustomize_namespace: Option<String>,

    /// Plugin variable (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    plugin_env: Vec<(String, String)>,

    /// Plugin parameter (repeatable); JSON lists and objects are recognized
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    plugin_parameter: Vec<(String, String)>,

    /// Branch, tag, commit or chart version to follow
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    #[command(flatten)]
    render: RenderArgs,
}

impl SettingArgs {
    /// Adds what is meant to an override.
    pub(crate) fn add_to(&self, values: &mut OverrideValues) -> Result<(), Failure> {
        let mut others = self.render.values()?;
        for (name, path) in &self.helm_set_file {
            others
                .push((OverrideKey::HelmFile(name.clone()), json!({ "name": name, "path": path })));
        }
        for (name, count) in &self.kustomize_replica {
            let element = json!({ "name": name, "count": count });
            others.push((OverrideKey::KustomizeReplica(name.clone()), element));
        }
        for (name, value) in &self.plugin_env {
            let element = json!({ "name": name, "value": value });
            others.push((OverrideKey::PluginEnv(name.clone()), element));
        }
        for (name, value) in &self.plugin_parameter {
            others
                .push((OverrideKey::PluginParameter(name.clone()), plugin_parameter(name, value)));
        }
        let fields = [
            (SourceField::NamePrefix, &self.nameprefix),
            (SourceField::NameSuffix, &self.namesuffix),
            (SourceField::KustomizeNamespace, &self.kustomize_namespace),
            (SourceField::TargetRevision, &self.revision),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                others.push((OverrideKey::Field(field), json!(value)));
            }
        }
        if !self.values.is_empty() {
            others.push((OverrideKey::Field(SourceField::HelmValueFiles), json!(self.values)));
        }
        if let Some(path) = &self.values_literal_file {
            others.push((OverrideKey::Field(SourceField::HelmValues), json!(literal(path)?)));
            // It would win over the text.
            values.unset.insert(OverrideKey::Field(SourceField::HelmValuesObject));
        }
        for (key, value) in others {
            let twice = format!("{key} is given twice");
            if values.others.insert(key, value).is_some() {
                return Err(Failure::usage(twice));
            }
        }
        Ok(())
    }
}

/// The text of a values file. Helm reads it itself; here is only looked whether it is an object.
fn literal(path: &Path) -> Result<String, Failure> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8", path.display())))?;
    let parsed: Result<BTreeMap<String, Value>, _> = serde_saphyr::from_str(&text);
    match parsed {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(error.to_string())
            .context(format!("{} contains no Helm values", path.display()))),
    }
}

/// A parameter as Argo CD stores it: a text, a list of texts, or a map of texts.
fn plugin_parameter(name: &str, value: &str) -> Value {
    match serde_json::from_str(value) {
        Ok(list @ Value::Array(_)) => json!({ "name": name, "array": list }),
        Ok(map @ Value::Object(_)) => json!({ "name": name, "map": map }),
        _ => json!({ "name": name, "string": value }),
    }
}

fn count(text: &str) -> Result<(String, i64), String> {
    let (name, count) = pair(text)?;
    match count.parse() {
        Ok(count) if count >= 0 => Ok((name, count)),
        _ => Err("want NAME=COUNT".into()),
    }
}

/// Values to remove
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Values")]
pub struct NameArgs {
    /// Helm parameter (repeatable)
    #[arg(long, short = 'p', value_name = "NAME", visible_aliases = ["helm-set", "helm-set-string"])]
    parameter: Vec<String>,

    /// Helm parameter that is read from a file (repeatable)
    #[arg(long, value_name = "NAME")]
    helm_set_file: Vec<String>,

    /// Helm values, as text or object
    #[arg(long)]
    values_literal: bool,

    /// Helm value file; keeps the others (repeatable)
    #[arg(long, value_name = "PATH", conflicts_with = "all_values")]
    values: Vec<String>,

    /// All Helm value files
    #[arg(long)]
    all_values: bool,

    /// Kustomize image, by the name that it replaces (repeatable)
    #[arg(long, value_name = "NAME")]
    kustomize_image: Vec<String>,

    /// Replicas of a workload, for Kustomize (repeatable)
    #[arg(long, value_name = "NAME")]
    kustomize_replica: Vec<String>,

    /// Prefix of all names
    #[arg(long)]
    nameprefix: bool,

    /// Suffix of all names
    #[arg(long)]
    namesuffix: bool,

    /// Namespace of all objects
    #[arg(long)]
    kustomize_namespace: bool,

    /// Kustomize version
    #[arg(long)]
    kustomize_version: bool,

    /// Permission for missing Kustomize components
    #[arg(long)]
    ignore_missing_components: bool,

    /// Permission for missing Helm value files
    #[arg(long)]
    ignore_missing_value_files: bool,

    /// Permission to send the repository's password to other hosts
    #[arg(long)]
    pass_credentials: bool,

    /// Plugin variable (repeatable)
    #[arg(long, value_name = "NAME")]
    plugin_env: Vec<String>,

    /// Plugin parameter (repeatable)
    #[arg(long, value_name = "NAME")]
    plugin_parameter: Vec<String>,
}

impl NameArgs {
    /// The override that takes it away.
    pub(crate) fn some(&self, source: SourceChoice) -> Result<OverrideValues, Failure> {
        type Make = fn(String) -> OverrideKey;
        let named: [(&[String], Make); 6] = [
            (&self.parameter, OverrideKey::Helm),
            (&self.helm_set_file, OverrideKey::HelmFile),
            (&self.kustomize_image, OverrideKey::Kustomize),
            (&self.kustomize_replica, OverrideKey::KustomizeReplica),
            (&self.plugin_env, OverrideKey::PluginEnv),
            (&self.plugin_parameter, OverrideKey::PluginParameter),
        ];
        let fields = [
            (self.values_literal, SourceField::HelmValues),
            (self.values_literal, SourceField::HelmValuesObject),
            (self.all_values, SourceField::HelmValueFiles),
            (self.nameprefix, SourceField::NamePrefix),
            (self.namesuffix, SourceField::NameSuffix),
            (self.kustomize_namespace, SourceField::KustomizeNamespace),
            (self.kustomize_version, SourceField::KustomizeVersion),
            (self.ignore_missing_components, SourceField::KustomizeIgnoreMissingComponents),
            (self.ignore_missing_value_files, SourceField::HelmIgnoreMissingValueFiles),
            (self.pass_credentials, SourceField::HelmPassCredentials),
        ];
        let named = named.iter().flat_map(|(names, make)| names.iter().cloned().map(*make));
        let fields =
            fields.into_iter().filter(|(on, _)| *on).map(|(_, field)| OverrideKey::Field(field));
        let values = OverrideValues {
            source,
            unset: named.chain(fields).collect(),
            without_files: self.values.iter().cloned().collect(),
            ..OverrideValues::default()
        };
        if values.is_empty() {
            return Err(Failure::usage("nothing to remove")
                .hint("use --parameter, --kustomize-image, --values-literal, …"));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_of_a_plugin_is_a_text_unless_it_is_a_list_or_an_object() {
        let cases = [
            ("1.10", json!({ "name": "p", "string": "1.10" })),
            ("", json!({ "name": "p", "string": "" })),
            ("[\"a\",\"b\"]", json!({ "name": "p", "array": ["a", "b"] })),
            ("{\"a\":\"b\"}", json!({ "name": "p", "map": { "a": "b" } })),
            ("{a", json!({ "name": "p", "string": "{a" })),
        ];
        for (text, want) in cases {
            assert_eq!(plugin_parameter("p", text), want, "{text}");
        }
    }

    #[test]
    fn replicas_are_counted() {
        assert_eq!(count("web=3"), Ok(("web".to_owned(), 3)));
        for text in ["web", "web=", "web=-1", "=1", "web=1.5"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
