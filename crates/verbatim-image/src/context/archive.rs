//! A tar archive that is written while it is sent, in a few buffers that are reused.
//!
//! The writer fills a buffer, and the HTTP body sends it and returns it. When all are in use, the writer waits, so
//! memory does not grow with the archive. `walk.rs` decides which files are sent.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// How many bytes go into one write to the engine's socket.
const BUFFER_SIZE: usize = 256 * 1024;
/// How many buffers are in use: one being filled, the others being sent.
const BUFFERS: usize = 6;
/// Tar counts in blocks of this size.
const BLOCK: u64 = 512;

/// The progress of an archive. Read while the archive is written.
#[derive(Debug, Default)]
pub(crate) struct ArchiveCounters {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl ArchiveCounters {
    pub(crate) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Why the archive cannot be written.
#[derive(Debug)]
pub(crate) enum ArchiveError {
    /// The archive has no reader any more: the request ended, and its answer says why.
    Closed,
    /// A file cannot be read, or does not fit into a header.
    Io(io::Error),
    /// A file changed its size after it was opened; the archive is broken.
    Size {
        /// The size in bytes when the file was opened.
        expected: u64,
        /// The bytes that were read, one more than expected if there was more.
        found: u64,
    },
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The writing end, used by one blocking thread.
pub(crate) struct ArchiveWriter {
    free: mpsc::UnboundedReceiver<Vec<u8>>,
    returning: mpsc::UnboundedSender<Vec<u8>>,
    /// Bounded by the number of buffers.
    full: mpsc::UnboundedSender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    filled: usize,
    /// Lays out headers, with GNU's extension for long names.
    headers: tar::Builder<Vec<u8>>,
    /// The time of every entry, in seconds since 1970.
    time: u64,
    counters: Arc<ArchiveCounters>,
}

/// A buffer that is being sent. Dropping it returns it to the writer.
struct BufferLoan {
    buffer: Vec<u8>,
    filled: usize,
    returning: mpsc::UnboundedSender<Vec<u8>>,
}

impl AsRef<[u8]> for BufferLoan {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for BufferLoan {
    fn drop(&mut self) {
        // If the writer has ended, the buffer is freed.
        let _ = self.returning.send(std::mem::take(&mut self.buffer));
    }
}

/// An archive to be written by one thread and read as a stream of bytes by another. An error in the stream means
/// that the archive is incomplete. `time` is that of every entry, in seconds since 1970.
pub(crate) fn archive(
    time: u64,
) -> (ArchiveWriter, impl Stream<Item = io::Result<Bytes>> + Send + 'static, Arc<ArchiveCounters>) {
    let (returning, free) = mpsc::unbounded_channel();
    let (full, mut reader) = mpsc::unbounded_channel();
    for _ in 1..BUFFERS {
        // The receiver still exists.
        let _ = returning.send(vec![0; BUFFER_SIZE]);
    }
    let counters = Arc::new(ArchiveCounters::default());
    let writer = ArchiveWriter {
        free,
        returning,
        full,
        buffer: vec![0; BUFFER_SIZE],
        filled: 0,
        headers: tar::Builder::new(Vec::new()),
        time,
        counters: Arc::clone(&counters),
    };
    (writer, futures_util::stream::poll_fn(move |context| reader.poll_recv(context)), counters)
}

impl ArchiveWriter {
    pub(crate) fn directory(&mut self, path: &Path, mode: u32) -> Result<(), ArchiveError> {
        self.plain(path, tar::EntryType::Directory, mode)
    }

    pub(crate) fn fifo(&mut self, path: &Path, mode: u32) -> Result<(), ArchiveError> {
        self.plain(path, tar::EntryType::Fifo, mode)
    }

    fn plain(&mut self, path: &Path, kind: tar::EntryType, mode: u32) -> Result<(), ArchiveError> {
        let mut header = self.header(kind, mode, 0);
        self.headers.append_data(&mut header, path, io::empty())?;
        self.write_header()
    }

    pub(crate) fn link(&mut self, path: &Path, target: &Path) -> Result<(), ArchiveError> {
        let mut header = self.header(tar::EntryType::Symlink, 0o777, 0);
        // A short target can be written as it is; `append_link` normalizes `//` and the like.
        let bytes = target.as_os_str().as_encoded_bytes();
        if bytes.len() <= header.as_old().linkname.len() {
            header.set_link_name_literal(bytes)?;
            self.headers.append_data(&mut header, path, io::empty())?;
        } else {
            self.headers.append_link(&mut header, path, target)?;
        }
        self.write_header()
    }

    /// Adds a file of exactly `size` bytes.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        mode: u32,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(), ArchiveError> {
        let mut header = self.header(tar::EntryType::Regular, mode, size);
        self.headers.append_data(&mut header, path, io::empty())?;
        self.write_header()?;
        let mut found = 0;
        while found < size {
            let space = self.space()?;
            let want = usize::try_from(size - found).unwrap_or(usize::MAX).min(space.len());
            let read = read_some(content, &mut space[..want])?;
            if read == 0 {
                return Err(ArchiveError::Size { expected: size, found });
            }
            self.advance(read);
            found += read as u64;
        }
        if read_some(content, &mut [0])? != 0 {
            return Err(ArchiveError::Size { expected: size, found: size + 1 });
        }
        self.pad(size)
    }

    /// Ends the archive. Without this call the stream ends, too, but the archive is incomplete.
    pub(crate) fn finish(mut self) -> Result<(), ArchiveError> {
        self.write(&[0; 2 * BLOCK as usize])?;
        self.flush()
    }

    /// Makes the stream end in an error, so the engine cannot use an incomplete archive.
    pub(crate) fn abort(self, reason: &str) {
        let _ = self.full.send(Err(io::Error::other(reason.to_owned())));
    }

    /// A header that does not depend on the machine, the user or the clock.
    fn header(&self, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode & 0o7777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(size);
        header
    }

    fn write_header(&mut self) -> Result<(), ArchiveError> {
        let header = std::mem::take(self.headers.get_mut());
        self.write(&header)?;
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        let mut header = header;
        header.clear();
        *self.headers.get_mut() = header;
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            let space = self.space()?;
            let length = space.len().min(bytes.len());
            space[..length].copy_from_slice(&bytes[..length]);
            self.advance(length);
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        self.write(&[0; BLOCK as usize][..padding as usize])
    }

    /// Room for at least one byte.
    fn space(&mut self) -> Result<&mut [u8], ArchiveError> {
        if self.filled == self.buffer.len() {
            self.flush()?;
            self.buffer = self.free.blocking_recv().ok_or(ArchiveError::Closed)?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    fn advance(&mut self, length: usize) {
        self.filled += length;
        self.counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        let loan = BufferLoan {
            buffer: std::mem::take(&mut self.buffer),
            filled: std::mem::take(&mut self.filled),
            returning: self.returning.clone(),
        };
        self.full.send(Ok(Bytes::from_owner(loan))).map_err(|_| ArchiveError::Closed)
    }
}

fn read_some(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    const TIME: u64 = 1_769_860_800;

    async fn written(
        write: impl FnOnce(&mut ArchiveWriter) -> Result<(), ArchiveError> + Send + 'static,
    ) -> Vec<u8> {
        let (mut writer, stream, counters) = archive(TIME);
        let thread = tokio::task::spawn_blocking(move || {
            write(&mut writer)?;
            writer.finish()
        });
        let chunks: Vec<_> = stream.map(Result::unwrap).map(|chunk| chunk.to_vec()).collect().await;
        thread.await.unwrap().unwrap();
        let bytes = chunks.concat();
        assert_eq!(counters.bytes(), bytes.len() as u64);
        bytes
    }

    #[tokio::test]
    async fn what_is_written_can_be_read() {
        let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
        let (name, target) = (long.clone(), format!("../{long}"));
        // Larger than all buffers together, so that each goes around.
        let big = vec![7_u8; BUFFER_SIZE * BUFFERS * 2 + 13];
        let content = big.clone();
        let want_target = target.clone();
        let bytes = written(move |writer| {
            writer.directory(Path::new("d"), 0o755)?;
            writer.file(Path::new("d/empty"), 0o644, 0, &mut io::empty())?;
            writer.file(Path::new(&name), 0o4755, 3, &mut &b"abc"[..])?;
            writer.link(Path::new("link"), Path::new(&target))?;
            writer.link(Path::new("short"), Path::new(".//x/../y"))?;
            writer.fifo(Path::new("pipe"), 0o600)?;
            writer.file(Path::new("big"), 0o600, content.len() as u64, &mut content.as_slice())
        })
        .await;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            assert_eq!(
                (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
                (0, 0, TIME)
            );
            let link = entry.link_name().unwrap().map(|target| target.display().to_string());
            let path = entry.path().unwrap().display().to_string();
            seen.push((path, entry.header().mode().unwrap(), content, link));
        }
        let want = [
            ("d".to_owned(), 0o755, vec![], None),
            ("d/empty".to_owned(), 0o644, vec![], None),
            (long, 0o4755, b"abc".to_vec(), None),
            ("link".to_owned(), 0o777, vec![], Some(want_target)),
            ("short".to_owned(), 0o777, vec![], Some(".//x/../y".to_owned())),
            ("pipe".to_owned(), 0o600, vec![], None),
            ("big".to_owned(), 0o600, big, None),
        ];
        assert!(seen == want, "{:?}", seen.iter().map(|entry| &entry.0).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_file_of_another_size_is_an_error() {
        for (size, content, found) in [(4, "abc", 3), (2, "abc", 3), (0, "a", 1)] {
            let (mut writer, _stream, _) = archive(TIME);
            let thread = tokio::task::spawn_blocking(move || {
                writer.file(Path::new("x"), 0o644, size, &mut content.as_bytes())
            });
            let error = thread.await.unwrap().unwrap_err();
            assert!(
                matches!(error, ArchiveError::Size { expected, found: got } if (expected, got) == (size, found)),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_writer_nobody_reads_ends() {
        let (mut writer, stream, _) = archive(TIME);
        drop(stream);
        let thread = tokio::task::spawn_blocking(move || {
            writer.file(Path::new("x"), 0o644, u64::MAX >> 1, &mut io::repeat(1))
        });
        assert!(matches!(thread.await.unwrap(), Err(ArchiveError::Closed)));
    }

    #[tokio::test]
    async fn an_aborted_archive_ends_in_an_error() {
        let (writer, stream, _) = archive(TIME);
        writer.abort("no");
        let chunks: Vec<_> = stream.collect().await;
        assert!(matches!(chunks.as_slice(), [Err(error)] if error.to_string() == "no"));
    }
}
