//! What `POST /repositories/URL/appdetails` tells about a source: its kind, and the parameters that it knows.

use serde_json::{Map, Value, json};

use super::{RepoServer, documents, inside, kind_of, kustomize, text};
use crate::objects::{images, items};

impl RepoServer {
    /// The details of `source`, a path in git. Helm parameters of the spec play no part, as in Argo CD.
    pub(crate) async fn details(&self, source: &Value) -> Result<Value, String> {
        let url = text(source, "repoURL");
        let revision = self.repositories().resolve(url, text(source, "targetRevision")).await?;
        let root = self.repositories().checkout(url, &revision).await?;
        let folder = inside(&root, text(source, "path"))?;
        let kind = kind_of(source, &folder)?;
        Ok(match kind {
            "Helm" => {
                let file = folder.join("values.yaml");
                let values = std::fs::read_to_string(&file).unwrap_or_default();
                // The files of the application come after that of the chart, and each wins over those before it
                // (`GetParameters` in util/helm/helm.go).
                let own = items(source, "/helm/valueFiles").iter().filter_map(Value::as_str);
                let mut texts = vec![values.clone()];
                for name in own {
                    let file = folder.join(name);
                    texts.push(std::fs::read_to_string(&file).map_err(|error| error.to_string())?);
                }
                let mut parameters: Vec<Value> = Vec::new();
                for text in texts {
                    let parsed: Value = serde_saphyr::from_str(&text).unwrap_or(Value::Null);
                    let mut found = Vec::new();
                    flatten("", &parsed, &mut found);
                    parameters.retain(|one| found.iter().all(|new| new["name"] != one["name"]));
                    parameters.append(&mut found);
                }
                let files: &[&str] = if file.is_file() { &["values.yaml"] } else { &[] };
                json!({ "type": "Helm", "helm": { "valueFiles": files, "parameters": parameters, "values": values } })
            }
            "Kustomize" => {
                // With what the source overrides (`populateKustomizeAppDetails` in
                // reposerver/repository/repository.go).
                let printed =
                    kustomize::build(self.tools(), source, &root, text(source, "path")).await?;
                let images = documents(&printed)?
                    .iter()
                    .flat_map(images)
                    .collect::<std::collections::BTreeSet<_>>();
                json!({ "type": "Kustomize", "kustomize": { "images": images } })
            }
            _ => json!({ "type": kind, "directory": {} }),
        })
    }
}

/// The leaves of the values as `a.b` and `a[0]`, the way `helm` names them in `--set`.
fn flatten(prefix: &str, value: &Value, out: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('.', "\\.");
                flatten(
                    &if prefix.is_empty() { name } else { format!("{prefix}.{name}") },
                    value,
                    out,
                );
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{at}]"), value, out);
            }
        }
        leaf => {
            let mut parameter = Map::from_iter([("name".to_owned(), Value::from(prefix))]);
            let shown = match leaf {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if !shown.is_empty() {
                parameter.insert("value".to_owned(), shown.into());
            }
            out.push(parameter.into());
        }
    }
}
