//! Archives whose bytes follow from what is in them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

/// The content of an archive, in one folder.
#[derive(Debug)]
pub(super) struct Archive {
    folder: String,
    /// Name, mode, content.
    files: Vec<(String, u32, Vec<u8>)>,
}

impl Archive {
    pub(super) fn new(folder: String) -> Self {
        Self { folder, files: Vec::new() }
    }

    pub(super) fn file(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.push((name.to_owned(), 0o644, content.into()));
    }

    pub(super) fn program(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.push((name.to_owned(), 0o755, content.into()));
    }

    /// Writes `FOLDER.tar.gz` with the time `time` for every file.
    pub(super) fn write(&self, out: &Path, time: u64) -> Result<PathBuf> {
        let path = out.join(format!("{}.tar.gz", self.folder));
        let bytes = self.bytes(time).context("cannot pack the archive")?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn bytes(&self, time: u64) -> std::io::Result<Vec<u8>> {
        // No name and no time in the header.
        let packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        let mut builder = tar::Builder::new(packer);
        for (name, mode, content) in &self.files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_mtime(time);
            header.set_uid(0);
            header.set_gid(0);
            builder.append_data(
                &mut header,
                format!("{}/{name}", self.folder),
                content.as_slice(),
            )?;
        }
        let mut packer = builder.into_inner()?;
        packer.flush()?;
        packer.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_same_content_has_the_same_bytes() {
        let mut archive = Archive::new("verbatim-1".to_owned());
        archive.program("verbatim", "binary");
        archive.file("man/verbatim.1", "page");
        let bytes = archive.bytes(1_700_000_000).unwrap();
        assert_eq!(bytes, archive.bytes(1_700_000_000).unwrap());
        let mut read = Vec::new();
        for entry in tar::Archive::new(GzDecoder::new(bytes.as_slice())).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            let header = entry.header();
            let (mode, time, owner) =
                (header.mode().unwrap(), header.mtime().unwrap(), header.uid().unwrap());
            read.push(format!("{path} {mode:o} {time} {owner} {text}"));
        }
        assert_eq!(
            read,
            [
                "verbatim-1/verbatim 755 1700000000 0 binary",
                "verbatim-1/man/verbatim.1 644 1700000000 0 page"
            ]
        );
    }
}
