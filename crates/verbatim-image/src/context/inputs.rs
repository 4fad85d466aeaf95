//! What a build would send, before anything is sent: for whoever has to know where every file of it comes from.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use verbatim_oci::Digest;

use super::error::ContextError;
use super::walk::BuildContext;
use crate::error::{Error, ErrorKind};

/// The files and links that a build of a folder would send, with its Dockerfile.
#[derive(Clone, Debug)]
pub struct BuildInputs {
    root: PathBuf,
    files: Vec<PathBuf>,
    dockerfile: PathBuf,
}

impl BuildInputs {
    /// Looks into a folder. `dockerfile` is not relative to it, `left_out` is as in [`BuildConfig`](crate::BuildConfig).
    ///
    /// # Errors
    /// If the folder is no build context, or cannot be read.
    pub fn of(
        context: &Path,
        dockerfile: Option<&Path>,
        left_out: &[PathBuf],
    ) -> Result<Self, Error> {
        let failed = |error| failed(context, error);
        let context = BuildContext::open(context, dockerfile).map_err(failed)?;
        let context = context.leaving_out(left_out);
        let (root, files) = (context.root().to_owned(), context.files().map_err(failed)?);
        Ok(Self { root, files, dockerfile: context.dockerfile_file().to_owned() })
    }

    /// The folder, with its links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files and links by their names in the folder, sorted by the bytes of each part.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// The Dockerfile, with its links resolved, wherever it lies.
    pub fn dockerfile(&self) -> &Path {
        &self.dockerfile
    }

    /// The hash of what would be sent of a file or folder: `dirHash` of in-toto, which is `Hash1` of Go's
    /// [dirhash](https://pkg.go.dev/golang.org/x/mod/sumdb/dirhash), over names that begin in the build context. A link counts
    /// as a file that holds its target. Lower-case hexadecimal digits; `None` if nothing of it would be sent.
    ///
    /// # Errors
    /// If a file cannot be read, or its name has a line end, which the hash does not allow.
    pub fn hash_of(&self, path: &Path) -> Result<Option<String>, Error> {
        let mut lines = Vec::new();
        for file in self.files.iter().filter(|file| file.starts_with(path)) {
            let absolute = self.root.join(file);
            let hash = || -> io::Result<String> {
                let name = file.to_str().filter(|name| !name.contains('\n'));
                let name = name.ok_or_else(|| io::Error::other("its name cannot be hashed"))?;
                let digest = match fs::symlink_metadata(&absolute)?.is_symlink() {
                    true => Digest::of(fs::read_link(&absolute)?.as_os_str().as_encoded_bytes()),
                    false => of_file(&absolute)?,
                };
                Ok(format!("{}  {name}\n", digest.hex()))
            };
            let line = hash().map_err(|source| {
                failed(&self.root, ContextError::Read { path: absolute.clone(), source })
            });
            // Sorted by the whole name, and not by its parts.
            lines.push((file.as_os_str().as_encoded_bytes(), line?));
        }
        lines.sort_unstable();
        let mut text = String::new();
        for (_, line) in &lines {
            let _ = text.write_str(line);
        }
        Ok((!lines.is_empty()).then(|| Digest::of(text.as_bytes()).hex()))
    }
}

/// The digest of a file, which is read in pieces.
fn of_file(file: &Path) -> io::Result<Digest> {
    let (mut file, mut hash) = (File::open(file)?, Sha256::new());
    let mut buffer = [0; 16 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_sha256(hash.finalize().into())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn failed(context: &Path, error: ContextError) -> Error {
    let action = format!("read the build context {}", context.display());
    Error::new(action, ErrorKind::Context(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second hash is what this prints: `(cd FOLDER && sha256sum $(find dist -type f | LC_ALL=C sort) | sha256sum)`.
    #[test]
    fn what_is_sent_is_hashed_as_go_does() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Dockerfile", "FROM scratch\n");
        write("dist/a/x", "1");
        write("dist/a.txt", "2");
        write("dist/left", "3");
        write(".dockerignore", "dist/left\n");
        let inputs = || BuildInputs::of(folder.path(), None, &[]).unwrap();
        let lines = format!(
            "{}  dist/a.txt\n{}  dist/a/x\n",
            Digest::of(b"2").hex(),
            Digest::of(b"1").hex()
        );
        let want = Digest::of(lines.as_bytes()).hex();
        assert_eq!(inputs().hash_of(Path::new("dist")).unwrap(), Some(want.clone()));
        assert_eq!(inputs().hash_of(Path::new("dist/a.txt")).unwrap().map(|it| it.len()), Some(64));
        assert_eq!(inputs().hash_of(Path::new("dis")).unwrap(), None);
        write("dist/left", "4");
        assert_eq!(inputs().hash_of(Path::new("dist")).unwrap(), Some(want.clone()), "not sent");
        write("dist/a/x", "2");
        assert_ne!(inputs().hash_of(Path::new("dist")).unwrap(), Some(want));
        let dockerfile = folder.path().canonicalize().unwrap().join("Dockerfile");
        assert_eq!(inputs().dockerfile(), dockerfile);
    }
}
