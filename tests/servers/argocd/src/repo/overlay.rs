//! The files `.argocd-source.yaml` and `.argocd-source-APP.yaml`, which win over the application's spec.

use std::path::Path;

use serde_json::Value;

use crate::patch::merge;

/// The source with both files merged over it. Where the manifests come from cannot be changed by a file.
pub(super) fn applied(source: &Value, folder: &Path, app: &str) -> Result<Value, String> {
    let mut overlaid = source.clone();
    for name in [".argocd-source.yaml".to_owned(), format!(".argocd-source-{app}.yaml")] {
        let file = folder.join(&name);
        if !file.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("error reading {name}: {error}"))?;
        let patch: Value = serde_saphyr::from_str(&text)
            .map_err(|error| format!("error parsing {name}: {error}"))?;
        merge(&mut overlaid, &patch);
    }
    for name in ["repoURL", "path", "chart", "targetRevision"] {
        let Some(object) = overlaid.as_object_mut() else { break };
        match source.get(name) {
            Some(value) => object.insert(name.to_owned(), value.clone()),
            None => object.remove(name),
        };
    }
    Ok(overlaid)
}
