//! The build context: which files of a directory are sent, and in which order.
//!
//! The same tree gives the same archive, byte for byte: entries are sorted, all have one time, owners and group names are left
//! out.
//! Permission bits are kept, as in Docker, because they end up in the image.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use verbatim_oci::Digest;

use super::archive::{ArchiveError, ArchiveWriter};
use super::error::ContextError;
use super::ignore::{DirectoryMatch, IgnoreFile};
use super::withheld::{self, Withheld, WithheldFiles};
use crate::labels::file_time;

const IGNORE_FILE: &str = ".dockerignore";

/// A directory that can be sent: it exists, has a Dockerfile, and its ignore file is valid.
#[derive(Debug)]
pub(crate) struct BuildContext {
    root: PathBuf,
    ignore: IgnoreFile,
    /// The name of the Dockerfile in the archive.
    dockerfile: String,
    /// Where it lies, with its links resolved.
    dockerfile_file: PathBuf,
    dockerfile_text: String,
    /// Files that are sent even if ignored. The classic builder removes them again.
    always_sent: Vec<PathBuf>,
    /// Files that are not in the directory, or have other content there.
    extra: Vec<(PathBuf, Vec<u8>)>,
    /// What stops the archive.
    withheld: WithheldFiles,
    /// Folders and files that are not sent, by their names in the directory.
    left_out: Vec<PathBuf>,
    /// Whether a `COPY .` in BuildKit sees a Dockerfile that the ignore file hides or that lies elsewhere.
    dockerfile_shows: bool,
    /// The time of everything in it, in seconds since 1970.
    time: u64,
}

impl BuildContext {
    /// Opens the directory, and reads the files that decide what is sent. `dockerfile` is not relative to the
    /// directory; without it, the context's `Dockerfile` or `dockerfile` is used.
    pub(crate) fn open(directory: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let unusable = |source| ContextError::Directory { path: directory.to_owned(), source };
        let root = fs::canonicalize(directory).map_err(unusable)?;
        fs::read_dir(&root).map_err(unusable)?;

        let given = match dockerfile {
            Some(path) => path.to_owned(),
            None => default_dockerfile(&root),
        };
        let resolved =
            fs::canonicalize(&given).map_err(|_| ContextError::NoDockerfile(given.clone()))?;
        let content = fs::read(&resolved)
            .map_err(|source| ContextError::Read { path: given.clone(), source })?;
        let (ignore_text, ignore) = read_ignore_file(&root, &given)?;

        let mut context = Self {
            ignore,
            dockerfile: String::new(),
            dockerfile_file: resolved.clone(),
            dockerfile_text: String::from_utf8_lossy(&content).into_owned(),
            always_sent: vec![PathBuf::from(IGNORE_FILE)],
            extra: Vec::new(),
            withheld: WithheldFiles::default(),
            left_out: Vec::new(),
            dockerfile_shows: false,
            time: file_time(None),
            root,
        };
        match resolved.strip_prefix(&context.root).ok().and_then(archive_name) {
            Some(name) => {
                context.dockerfile_shows = context.ignore.ignores(&name);
                context.always_sent.push(PathBuf::from(&name));
                context.dockerfile = name;
            }
            None => context.add_dockerfile(content, ignore_text.as_deref()),
        }
        Ok(context)
    }

    /// Puts a Dockerfile from elsewhere into the archive, under a unique name that depends only on the content, so that
    /// caches work. The ignore file hides it from the classic builder.
    fn add_dockerfile(&mut self, content: Vec<u8>, ignore_text: Option<&str>) {
        let hex = Digest::of(&content).hex();
        self.dockerfile = format!(".dockerfile.{}", &hex[..20]);
        let ignore_text = ignore_text.unwrap_or(IGNORE_FILE);
        let ignore_text = format!("{}\n{}\n", ignore_text.trim_end(), self.dockerfile);
        self.extra = vec![
            (PathBuf::from(&self.dockerfile), content),
            (PathBuf::from(IGNORE_FILE), ignore_text.into_bytes()),
        ];
        self.dockerfile_shows = true;
    }

    /// Refuses to write an archive with one of these. Files that do not exist are ignored.
    pub(crate) fn without(mut self, withheld: &Withheld) -> Self {
        self.withheld = WithheldFiles::of(withheld);
        self
    }

    /// Does not send these files and folders, whatever the ignore file says of them.
    pub(crate) fn leaving_out(mut self, paths: &[PathBuf]) -> Self {
        let inside = |path: &PathBuf| {
            let path = fs::canonicalize(path).ok()?;
            path.strip_prefix(&self.root).ok().map(Path::to_owned)
        };
        self.left_out = paths.iter().filter_map(inside).collect();
        self
    }

    /// Gives everything in it one time, in seconds since 1970.
    pub(crate) fn dated(mut self, time: u64) -> Self {
        self.time = time;
        self
    }

    /// The time of everything in it.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// What the image may hold that is nobody's business, for people.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let config = Path::new(".git/config");
        let is_sent = !self.ignore.ignores(".git/config");
        let has_login = is_sent && withheld::has_login(&self.root.join(config));
        let warning = "the build context holds `.git/config` with a login of the checkout; add `.git` to .dockerignore";
        has_login.then(|| warning.to_owned()).into_iter().collect()
    }

    /// For BuildKit, which removes nothing from an archive: ignored files are not sent, except the Dockerfile.
    pub(crate) fn for_buildkit(mut self) -> Self {
        self.always_sent.retain(|path| path != Path::new(IGNORE_FILE));
        self.extra.retain(|(path, _)| path != Path::new(IGNORE_FILE));
        self
    }

    /// The name of the Dockerfile in the archive.
    pub(crate) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    pub(crate) fn dockerfile_file(&self) -> &Path {
        &self.dockerfile_file
    }

    pub(crate) fn dockerfile_text(&self) -> &str {
        &self.dockerfile_text
    }

    /// Whether `COPY .` in BuildKit wrongly copies the Dockerfile.
    pub(crate) fn dockerfile_shows(&self) -> bool {
        self.dockerfile_shows
    }

    /// Writes the archive. Blocks. Returns the files that an archive cannot hold: sockets and devices.
    pub(crate) fn write(&self, writer: &mut ArchiveWriter) -> Result<Vec<PathBuf>, SendError> {
        for (path, content) in &self.extra {
            writer
                .file(path, 0o600, content.len() as u64, &mut content.as_slice())
                .map_err(|error| SendError::new(path.clone(), error))?;
        }
        let mut walk = ContextWalk::new(self, WalkOutput::Archive(writer));
        walk.directory(None)?;
        Ok(walk.skipped)
    }

    /// The folder, with its links resolved.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The files and links of the folder that would be sent, by their names in it, sorted by the bytes of each part. Reads no
    /// file.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, ContextError> {
        let mut files = Vec::new();
        let walked = ContextWalk::new(self, WalkOutput::List(&mut files)).directory(None);
        match walked {
            Ok(()) | Err(SendError::Closed) => Ok(files),
            Err(SendError::Context(error)) => Err(error),
        }
    }
}

/// Why an archive cannot be written.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The request ended before; its answer says why.
    Closed,
    /// The context cannot be read.
    Context(ContextError),
}

impl SendError {
    fn new(path: PathBuf, error: ArchiveError) -> Self {
        Self::Context(match error {
            ArchiveError::Closed => return Self::Closed,
            ArchiveError::Io(source) => ContextError::Read { path, source },
            ArchiveError::Size { expected, found } => {
                ContextError::Changed { path, expected, found }
            }
        })
    }
}

/// Where a walk leaves what it finds.
enum WalkOutput<'a> {
    Archive(&'a mut ArchiveWriter),
    /// Files and links only.
    List(&'a mut Vec<PathBuf>),
}

/// A walk through the directory. It reuses its paths, so that only the name is allocated for each file.
struct ContextWalk<'a> {
    context: &'a BuildContext,
    output: WalkOutput<'a>,
    absolute: PathBuf,
    relative: PathBuf,
    /// Ignored parent directories: they are sent if something in them is.
    unsent: Vec<(PathBuf, u32)>,
    skipped: Vec<PathBuf>,
}

impl<'a> ContextWalk<'a> {
    fn new(context: &'a BuildContext, output: WalkOutput<'a>) -> Self {
        Self {
            context,
            output,
            absolute: context.root.clone(),
            relative: PathBuf::new(),
            unsent: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn directory(&mut self, inherited: Option<&DirectoryMatch>) -> Result<(), SendError> {
        for (name, kind) in self.names()? {
            self.absolute.push(&name);
            self.relative.push(&name);
            let walked = self.entry(kind, inherited);
            self.relative.pop();
            self.absolute.pop();
            walked?;
        }
        Ok(())
    }

    /// The entries of the current directory, sorted by the bytes of their names.
    fn names(&self) -> Result<Vec<(OsString, fs::FileType)>, SendError> {
        let list = || -> io::Result<Vec<_>> {
            fs::read_dir(&self.absolute)?
                .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
                .collect()
        };
        let mut names = list().map_err(|error| self.failed(error))?;
        names.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        Ok(names)
    }

    fn entry(
        &mut self,
        kind: fs::FileType,
        inherited: Option<&DirectoryMatch>,
    ) -> Result<(), SendError> {
        let context = self.context;
        if context.left_out.contains(&self.relative) {
            return Ok(());
        }
        if kind.is_dir() {
            return self.subdirectory(inherited);
        }
        let is_replaced = context.extra.iter().any(|(path, _)| *path == self.relative);
        let is_ignored = !context.ignore.is_empty()
            && context.ignore.ignores_in(&self.relative.to_string_lossy(), inherited)
            && !context.always_sent.contains(&self.relative);
        if is_replaced || is_ignored {
            return Ok(());
        }
        // An archive cannot hold sockets; a device in a context is a mistake.
        if kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            self.skipped.push(self.relative.clone());
            return Ok(());
        }
        self.send_directories_above()?;
        let mode = if kind.is_fifo() { self.mode() } else { Ok(0) };
        let Self { output, relative, absolute, .. } = self;
        let writer = match output {
            WalkOutput::Archive(_) if !kind.is_symlink() && !kind.is_fifo() => return self.file(),
            WalkOutput::Archive(writer) => writer,
            WalkOutput::List(list) => {
                list.push(relative.clone());
                return Ok(());
            }
        };
        let sent = if kind.is_symlink() {
            fs::read_link(&absolute)
                .map_err(ArchiveError::from)
                .and_then(|target| writer.link(relative, &target))
        } else {
            mode.map_err(ArchiveError::from).and_then(|mode| writer.fifo(relative, mode))
        };
        sent.map_err(|error| SendError::new(absolute.clone(), error))
    }

    fn file(&mut self) -> Result<(), SendError> {
        let open = || -> io::Result<_> {
            let file = File::open(&self.absolute)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (mut file, metadata) = open().map_err(|error| self.failed(error))?;
        let withheld = &self.context.withheld;
        if withheld.is_file(&metadata) {
            return Err(self.is_withheld());
        }
        let (mode, size) = (metadata.permissions().mode(), metadata.len());
        let content = if withheld.may_be_in(size) {
            let mut content = Vec::new();
            // One byte more shows that it grew.
            let read = (&mut file).take(size.saturating_add(1)).read_to_end(&mut content);
            read.map_err(|error| self.failed(error))?;
            if withheld.is_in(&content) {
                return Err(self.is_withheld());
            }
            Some(content)
        } else {
            None
        };
        let Self { output: WalkOutput::Archive(writer), relative, absolute, .. } = self else {
            return Ok(());
        };
        let sent = match content {
            Some(content) => writer.file(relative, mode, size, &mut content.as_slice()),
            None => writer.file(relative, mode, size, &mut file),
        };
        sent.map_err(|error| SendError::new(absolute.clone(), error))
    }

    fn is_withheld(&self) -> SendError {
        SendError::Context(ContextError::Withheld(self.absolute.clone()))
    }

    fn subdirectory(&mut self, inherited: Option<&DirectoryMatch>) -> Result<(), SendError> {
        let ignore = &self.context.ignore;
        if ignore.is_empty() {
            self.send_directory()?;
            return self.directory(None);
        }
        let path = self.relative.to_string_lossy();
        let (is_ignored, matches) = ignore.ignores_directory(&path, inherited);
        if !is_ignored {
            self.send_directories_above()?;
            self.send_directory()?;
            return self.directory(Some(&matches));
        }
        let holds_what_is_always_sent =
            self.context.always_sent.iter().any(|kept| kept.starts_with(&self.relative));
        if !ignore.may_keep_below(&path) && !holds_what_is_always_sent {
            return Ok(());
        }
        drop(path);
        let mode = self.mode().map_err(|error| self.failed(error))?;
        let n_unsent = self.unsent.len();
        self.unsent.push((self.relative.clone(), mode));
        let walked = self.directory(Some(&matches));
        self.unsent.truncate(n_unsent);
        walked
    }

    fn send_directory(&mut self) -> Result<(), SendError> {
        let mode = self.mode().map_err(|error| self.failed(error))?;
        let WalkOutput::Archive(writer) = &mut self.output else { return Ok(()) };
        writer
            .directory(&self.relative, mode)
            .map_err(|error| SendError::new(self.absolute.clone(), error))
    }

    fn send_directories_above(&mut self) -> Result<(), SendError> {
        for (path, mode) in std::mem::take(&mut self.unsent) {
            let WalkOutput::Archive(writer) = &mut self.output else { continue };
            writer
                .directory(&path, mode)
                .map_err(|error| SendError::new(self.context.root.join(path), error))?;
        }
        Ok(())
    }

    fn mode(&self) -> io::Result<u32> {
        Ok(fs::symlink_metadata(&self.absolute)?.permissions().mode())
    }

    fn failed(&self, source: io::Error) -> SendError {
        SendError::Context(ContextError::Read { path: self.absolute.clone(), source })
    }
}

fn default_dockerfile(root: &Path) -> PathBuf {
    let usual = root.join("Dockerfile");
    let lower = root.join("dockerfile");
    if !usual.exists() && lower.exists() { lower } else { usual }
}

/// The ignore file to use: the one of this Dockerfile if it exists, else that of the context. The returned text is that
/// of the context's own file, which may be sent with another line.
fn read_ignore_file(
    root: &Path,
    dockerfile: &Path,
) -> Result<(Option<String>, IgnoreFile), ContextError> {
    let mut special = dockerfile.as_os_str().to_owned();
    special.push(IGNORE_FILE);
    let special = PathBuf::from(special);
    let general = root.join(IGNORE_FILE);
    let general_text = read_if_there(&general)?;
    let (path, text) = match read_if_there(&special)? {
        Some(text) => (special, Some(text)),
        None => (general, general_text.clone()),
    };
    let ignore = IgnoreFile::parse(text.as_deref().unwrap_or_default())
        .map_err(|source| ContextError::Ignore { path, source })?;
    Ok((general_text, ignore))
}

fn read_if_there(path: &Path) -> Result<Option<String>, ContextError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ContextError::Read { path: path.to_owned(), source }),
    }
}

/// The relative path as text with `/`. `None` if it is empty or not UTF-8, which the engine's API cannot name.
fn archive_name(relative: &Path) -> Option<String> {
    let names: Option<Vec<&str>> = relative
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    names.map(|names| names.join("/")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::{Duration, SystemTime};

    use futures_util::StreamExt as _;
    use verbatim_credentials::SecretString;

    use super::*;
    use crate::context::archive;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file.as_bytes()).unwrap();
        }
        folder
    }

    async fn sent(context: BuildContext) -> Vec<u8> {
        let (mut writer, stream, _) = archive(context.time());
        let thread = tokio::task::spawn_blocking(move || {
            context.write(&mut writer).unwrap();
            writer.finish().unwrap();
        });
        let chunks: Vec<_> = stream.map(|chunk| chunk.unwrap().to_vec()).collect().await;
        thread.await.unwrap();
        chunks.concat()
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let path = |entry: io::Result<tar::Entry<'_, _>>| {
            entry.unwrap().path().unwrap().display().to_string()
        };
        archive.entries().unwrap().map(path).collect()
    }

    #[tokio::test]
    async fn the_same_tree_gives_the_same_bytes() {
        let files = ["Dockerfile", "b", "a/z", "a/b/c", "a.txt", "ä"];
        let mut reversed = files;
        reversed.reverse();
        let (one, two) = (tree(&files), tree(&reversed));
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        File::open(two.path().join("b")).unwrap().set_modified(past).unwrap();
        let one = sent(BuildContext::open(one.path(), None).unwrap()).await;
        let two = sent(BuildContext::open(two.path(), None).unwrap()).await;
        assert!(one == two);
        assert_eq!(
            names(&one),
            ["Dockerfile", "a", "a/b", "a/b/c", "a/z", "a.txt", "b", "ä"],
            "each directory in the order of its names' bytes"
        );
    }

    #[tokio::test]
    async fn what_is_listed_is_what_is_sent() {
        let files = ["Dockerfile", "a/b", "a/c", "d/e", "f", "g/h", ".dockerignore"];
        let folder = tree(&files);
        std::os::unix::fs::symlink("nowhere", folder.path().join("a/link")).unwrap();
        fs::write(folder.path().join(".dockerignore"), "d\n!d/e\ng\nDockerfile\n").unwrap();
        let context = || {
            let context = BuildContext::open(folder.path(), None).unwrap();
            context.leaving_out(&[folder.path().join("f")])
        };
        let listed: Vec<String> =
            context().files().unwrap().iter().map(|file| file.display().to_string()).collect();
        assert_eq!(listed, [".dockerignore", "Dockerfile", "a/b", "a/c", "a/link", "d/e"]);
        let mut sent = names(&sent(context()).await);
        sent.retain(|name| !["a", "d"].contains(&name.as_str()));
        assert_eq!(sent, listed);
    }

    #[tokio::test]
    async fn what_is_withheld_is_never_sent() {
        let folder = tree(&["Dockerfile", "keys/ci.pem", "keys/ci.pub"]);
        let key = folder.path().join("keys/ci.pem");
        let context = || {
            let context = BuildContext::open(folder.path(), None).unwrap();
            let files = vec![key.clone(), "elsewhere.pem".into()];
            context.without(&Withheld { files, ..Withheld::default() })
        };
        let (mut writer, stream, _) = archive(0);
        let refused = tokio::task::spawn_blocking({
            let context = context();
            move || context.write(&mut writer).map(drop)
        });
        let _: Vec<_> = stream.collect().await;
        let refused = refused.await.unwrap();
        assert!(
            matches!(&refused, Err(SendError::Context(ContextError::Withheld(file))) if file.ends_with("keys/ci.pem")),
            "{refused:?}"
        );
        fs::write(folder.path().join(IGNORE_FILE), "**/*.pem\n").unwrap();
        let sent = names(&sent(context()).await);
        assert_eq!(sent, [".dockerignore", "Dockerfile", "keys", "keys/ci.pub"]);
    }

    /// What stops the archive of a directory with this file in it, which `key` is withheld from.
    async fn stopped_by(folder: &tempfile::TempDir, withheld: &Withheld) -> Option<PathBuf> {
        let context = BuildContext::open(folder.path(), None).unwrap().without(withheld);
        let (mut writer, stream, _) = archive(context.time());
        let written = tokio::task::spawn_blocking(move || context.write(&mut writer).map(drop));
        let _: Vec<_> = stream.collect().await;
        match written.await.unwrap() {
            Err(SendError::Context(ContextError::Withheld(file))) => Some(file),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_key_is_withheld_by_whatever_name() {
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", "S".repeat(64));
        let beside = tempfile::tempdir().unwrap();
        let key = beside.path().join("ci.pem");
        fs::write(&key, &pem).unwrap();
        let withheld =
            Withheld { files: vec![key.clone()], keys: vec![SecretString::from(pem.clone())] };
        let files = Withheld { keys: Vec::new(), ..withheld.clone() };

        let linked = tree(&["Dockerfile"]);
        fs::hard_link(&key, linked.path().join("other")).unwrap();
        assert!(stopped_by(&linked, &files).await.unwrap().ends_with("other"));

        let copied = tree(&["Dockerfile", "deep/a"]);
        fs::write(copied.path().join("deep/.env"), format!("KEY='{pem}'")).unwrap();
        assert_eq!(stopped_by(&copied, &files).await, None);
        assert!(stopped_by(&copied, &withheld).await.unwrap().ends_with("deep/.env"));
        assert_eq!(stopped_by(&tree(&["Dockerfile", "a"]), &withheld).await, None);
    }

    #[tokio::test]
    async fn what_is_left_out_is_not_sent() {
        let folder = tree(&["Dockerfile", ".verbatim/release.json", "a"]);
        let left_out = [folder.path().join(".verbatim"), folder.path().join("none")];
        let context = BuildContext::open(folder.path(), None).unwrap().leaving_out(&left_out);
        assert_eq!(names(&sent(context).await), ["Dockerfile", "a"]);
    }

    #[tokio::test]
    async fn a_login_in_the_context_is_told() {
        let folder = tree(&["Dockerfile", ".git/config"]);
        let warnings = || BuildContext::open(folder.path(), None).unwrap().warnings().len();
        assert_eq!(warnings(), 0);
        let config = "[http \"https://git.example/\"]\n\textraheader = AUTHORIZATION: basic eA==\n";
        fs::write(folder.path().join(".git/config"), config).unwrap();
        assert_eq!(warnings(), 1);
        fs::write(folder.path().join(IGNORE_FILE), ".git\n").unwrap();
        assert_eq!(warnings(), 0);
    }

    #[tokio::test]
    async fn directories_are_sent_if_something_in_them_is() {
        let folder = tree(&["Dockerfile", "x/y/keep", "x/y/drop", "x/z/drop", "w/drop"]);
        fs::write(folder.path().join(IGNORE_FILE), "*\n!**/keep\n").unwrap();
        let context = || BuildContext::open(folder.path(), None).unwrap();
        let want = [".dockerignore", "Dockerfile", "x", "x/y", "x/y/keep"];
        assert_eq!(names(&sent(context()).await), want);
        // BuildKit takes nothing away, so it is not given the ignore file.
        assert_eq!(names(&sent(context().for_buildkit()).await), want[1..]);
        assert!(context().dockerfile_shows());
    }

    #[tokio::test]
    async fn a_dockerfile_in_an_ignored_directory_is_sent() {
        let folder = tree(&["docker/Dockerfile", "docker/other", "file"]);
        fs::write(folder.path().join(IGNORE_FILE), "docker\n").unwrap();
        let dockerfile = folder.path().join("docker/Dockerfile");
        let context = BuildContext::open(folder.path(), Some(&dockerfile)).unwrap();
        assert_eq!(context.dockerfile(), "docker/Dockerfile");
        let want = [".dockerignore", "docker", "docker/Dockerfile", "file"];
        assert_eq!(names(&sent(context).await), want);
    }

    #[tokio::test]
    async fn a_dockerfile_from_elsewhere_is_added_and_hidden() {
        let (folder, elsewhere) = (tree(&["file", ".dockerignore"]), tree(&["My.Dockerfile"]));
        let dockerfile = elsewhere.path().join("My.Dockerfile");
        let context = BuildContext::open(folder.path(), Some(&dockerfile)).unwrap();
        let name = context.dockerfile().to_owned();
        let archive = sent(context).await;
        assert_eq!(names(&archive), [name.as_str(), ".dockerignore", "file"]);
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut ignore = String::new();
        let mut entries = archive.entries().unwrap();
        entries.nth(1).unwrap().unwrap().read_to_string(&mut ignore).unwrap();
        assert_eq!(ignore, format!(".dockerignore\n{name}\n"));
    }
}
