//! Who made the last commits of a release, as git tells it when the build record is made. Judges nobody.

use verbatim_record::{BuildSource, SourceCommit};

use crate::project::{Project, git};

/// The last commits of a source; none where this clone does not know it. A shallow clone knows few.
pub(crate) async fn commits(project: &Project, source: &BuildSource) -> Vec<SourceCommit> {
    let Some(commit) = &source.commit else { return Vec::new() };
    git::commits(project.folder(), commit).await.unwrap_or_else(|error| {
        tracing::debug!(%error, commit, "cannot tell who made the commits");
        Vec::new()
    })
}
