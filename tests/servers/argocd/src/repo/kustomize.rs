//! `kustomize edit` and `kustomize build`, called as Argo CD calls them, in a copy of the checkout.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::{Tools, run, text};

/// Members of `kustomize` that are carried out here. Any other would silently render something else than Argo CD does.
const KNOWN: &[&str] = &["images", "namePrefix", "nameSuffix", "namespace", "version"];

pub(super) async fn build(
    tools: &Tools,
    source: &Value,
    root: &Path,
    path: &str,
) -> Result<String, String> {
    let Some(program) = &tools.kustomize else {
        return Err("exec: \"kustomize\": executable file not found in $PATH".to_owned());
    };
    let options = source.get("kustomize").unwrap_or(&Value::Null);
    if let Some(unknown) = options
        .as_object()
        .and_then(|object| object.keys().find(|name| !KNOWN.contains(&name.as_str())))
    {
        return Err(format!("kustomize.{unknown} is not simulated"));
    }
    let copy = tempfile::tempdir().map_err(|error| error.to_string())?;
    copy_tree(root, copy.path()).map_err(|error| format!("cannot copy the checkout: {error}"))?;
    let folder = copy.path().join(path);
    let edit = async |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(&folder).arg("edit").arg("set").args(arguments);
        run(command, &format!("kustomize edit set {}", arguments.join(" "))).await
    };
    for (member, word) in
        [("namePrefix", "nameprefix"), ("nameSuffix", "namesuffix"), ("namespace", "namespace")]
    {
        let value = text(options, member);
        if !value.is_empty() {
            edit(&[word, "--", value]).await?;
        }
    }
    let images: Vec<&str> = options
        .get("images")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !images.is_empty() {
        edit(&[&["image"][..], &images[..]].concat()).await?;
    }
    let mut command = Command::new(program);
    command.current_dir(&folder).args(["build", "."]);
    // The copy's place would only make the message differ from run to run.
    run(command, &format!("kustomize build {path}")).await
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
