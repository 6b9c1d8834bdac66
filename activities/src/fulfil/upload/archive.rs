//! Reads pieces of the archive from its spool file, on a blocking thread.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use memmap2::MmapMut;

use super::Upload;
use crate::{blocking, store::Sum};

/// The archive for all calls of one upload.
pub(super) struct ArchiveFile {
    file: Arc<File>,
    pub(super) bytes: u64,
    pub(super) sum: Sum,
    pub(super) sha256: String,
    pub(super) disposition: String,
}

impl ArchiveFile {
    pub(super) fn new(archive: &Upload<'_>) -> anyhow::Result<Self> {
        // A second descriptor, because a blocking thread may outlive a cancelled attempt.
        let file = archive.file.try_clone().context("failed to open the spooled archive again")?;
        Ok(Self {
            file: Arc::new(file),
            bytes: archive.bytes,
            sum: archive.sum,
            sha256: hex::encode(archive.sha256),
            disposition: format!(
                "attachment; filename=\"export-{}.zip\"",
                archive.snapshot_at.format("%Y-%m-%d")
            ),
        })
    }

    /// Reads `length` bytes from `offset` into one buffer of exactly that size.
    pub(super) async fn read(&self, offset: u64, length: u64) -> anyhow::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let length = usize::try_from(length).context("a part is larger than the address space")?;
        blocking::run("read the spooled archive", move || read_at(&file, offset, length)).await
    }
}

/// Reads into separate pages, which go back to the system at once.
///
/// The allocator would keep freed memory in each of its arenas: after 14,000 archives of 0.6 MB on average a process
/// held 300 MiB.
fn read_at(file: &File, offset: u64, length: usize) -> anyhow::Result<Bytes> {
    let mut buffer = MmapMut::map_anon(length).context("failed to get memory for a part")?;
    file.read_exact_at(&mut buffer, offset)?;
    Ok(Bytes::from_owner(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_whole_and_takes_nothing_of_its_size_from_the_allocator() {
        let text = vec![7; 8 << 20];
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &text).unwrap();
        let mut part = Bytes::new();
        let taken = allocation_counter::measure(|| part = read_at(&file, 1, text.len() - 1).unwrap());
        assert!(part == text[1..]);
        assert!(taken.bytes_total < 1 << 10, "{taken:?}");
    }
}
