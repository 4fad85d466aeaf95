//! Whether what a build sends is what the commit holds: files that git ignores are in no commit, and end up in the image all
//! the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use verbatim_console::{ExitStatus, Failure};
use verbatim_image::BuildInputs;

use crate::config::Image;
use crate::project::git::{self, IgnoredFiles};
use crate::project::{Project, failures};
use crate::release::build::source_failure;

/// What no commit holds, of what the build of an image sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UncommittedInputs {
    /// What the configuration allows: its hash by its path in the context.
    pub allowed: BTreeMap<String, String>,
    /// The rest, each by the name under which git ignores it.
    pub unknown: BTreeSet<String>,
}

/// Looks at what the build of each image would send.
pub(crate) async fn look(project: &Project) -> Result<Vec<UncommittedInputs>, Failure> {
    let ignored = git::ignored(project.folder()).await.map_err(source_failure)?;
    let mut looked = Vec::new();
    for image in project.config.images.values() {
        let (image, ignored) = (image.clone(), ignored.clone());
        let left_out = vec![project.state_folder()];
        let seen = tokio::task::spawn_blocking(move || of_image(&image, &ignored, &left_out));
        looked.push(seen.await.map_err(|panic| Failure::new(ExitStatus::Defect, panic))??);
    }
    Ok(looked)
}

fn of_image(
    image: &Image,
    ignored: &IgnoredFiles,
    left_out: &[PathBuf],
) -> Result<UncommittedInputs, Failure> {
    let dockerfile = image.dockerfile.as_ref().map(|file| image.context.join(file));
    let inputs = BuildInputs::of(&image.context, dockerfile.as_deref(), left_out)
        .map_err(failures::image)?;
    let files = inputs.files().map(|file| (Some(file), inputs.root().join(file)));
    let dockerfile = (None, inputs.dockerfile().to_owned());
    let (used, unknown) =
        sorted(&image.ignored_inputs, files.chain([dockerfile]), |file| ignored.name_of(file));
    let mut allowed = BTreeMap::new();
    for path in used {
        let hash = inputs.hash_of(&path).map_err(failures::image)?;
        allowed.extend(hash.map(|hash| (path.display().to_string(), hash)));
    }
    Ok(UncommittedInputs { allowed, unknown })
}

/// Which of the allowed paths are used, and what else no commit holds. A file has its name in the context, if it is sent from
/// there, and its path. Pure.
fn sorted<'a>(
    allowed: &[PathBuf],
    files: impl Iterator<Item = (Option<&'a Path>, PathBuf)>,
    name_of: impl Fn(&Path) -> Option<String>,
) -> (BTreeSet<PathBuf>, BTreeSet<String>) {
    let (mut used, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for (inside, path) in files {
        let Some(name) = name_of(&path) else { continue };
        match allowed.iter().find(|allowed| inside.is_some_and(|it| it.starts_with(allowed))) {
            Some(allowed) => used.insert(allowed.clone()),
            None => unknown.insert(name),
        };
    }
    (used, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_allowed_or_unknown() {
        let allowed = ["dist", "gen/a.go"].map(PathBuf::from);
        let ignored = ["/r/dist/x", "/r/gen/a.go", "/r/gen/b.go", "/r/.env", "/else/Dockerfile"];
        let files = ["dist/x", "src/y", "gen/a.go", "gen/b.go", ".env"].map(Path::new);
        let files = files.iter().map(|file| (Some(*file), Path::new("/r").join(file)));
        let dockerfile = (None, PathBuf::from("/else/Dockerfile"));
        let (used, unknown) = sorted(&allowed, files.chain([dockerfile]), |file| {
            let name = file.to_str().unwrap();
            ignored.contains(&name).then(|| name.to_owned())
        });
        assert_eq!(used, allowed.into());
        let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
        assert_eq!(unknown, ["/else/Dockerfile", "/r/.env", "/r/gen/b.go"]);
    }
}
