//! Prints objects of Argo CD as they are: JSON or YAML, for scripts that read what `argocd -o json` gives them.
//!
//! The server's own document, without a version of ours: `--format json` is the one that has that.

use serde_json::Value;
use verbatim_console::{Console, ExitStatus, Failure};

/// The server's document as JSON.
pub(crate) fn json(console: &Console, document: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::new(ExitStatus::Defect, error))?;
    console.json_text(&text)
}

/// The server's document as YAML.
pub(crate) fn yaml(console: &Console, document: &Value) -> Result<(), Failure> {
    console.data(yaml_text(document)?)
}

/// A document as YAML, with a line end.
pub(crate) fn yaml_text(document: &Value) -> Result<String, Failure> {
    crate::inspect::yaml::text(document).map_err(|error| Failure::new(ExitStatus::Defect, error))
}
