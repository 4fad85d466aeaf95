//! The results of the commands: printed, and written to files.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use verbatim_console::{ExitStatus, Failure};

use crate::{BuiltImage, PushedImage};

/// Files for the next job
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Results")]
pub struct ReportArgs {
    /// Write the result to this file, as `--format json` prints it
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// Write the digest in the registry to this file, without a newline
    #[arg(long, value_name = "FILE")]
    pub digest_file: Option<PathBuf>,
}

/// The result of a command.
#[derive(Debug, Serialize)]
pub(super) struct ImageReport {
    /// The built image, if there was a build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) built: Option<BuiltImage>,
    /// The image in the registry, if there was a push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pushed: Option<PushedImage>,
}

impl fmt::Display for ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.pushed, &self.built) {
            (Some(pushed), _) => pushed.fmt(f),
            (None, Some(built)) => built.id.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

impl ReportArgs {
    pub(super) fn write(&self, report: &ImageReport) -> Result<(), Failure> {
        if let Some(path) = &self.metadata_file {
            let text = serde_json::to_value(report).and_then(|mut value| {
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("schema_version".to_owned(), 1.into());
                }
                serde_json::to_string_pretty(&value)
            });
            let text = text.map_err(|error| Failure::new(ExitStatus::Defect, error))?;
            write(path, &format!("{text}\n"))?;
        }
        match (&self.digest_file, &report.pushed) {
            (Some(path), Some(pushed)) => write(path, &pushed.digest.to_string()),
            _ => Ok(()),
        }
    }
}

/// Replaces a file atomically: the next job must not read half of it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ExitStatus::Unknown, error)
            .context(format!("cannot write `{}`; the image itself is not affected", path.display()))
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    std::fs::write(&part, text).map_err(failed)?;
    std::fs::rename(&part, path).map_err(|error| {
        let _ = std::fs::remove_file(&part);
        failed(error)
    })
}
