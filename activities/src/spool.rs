//! The spool: anonymous files on disk, under a quota, in which archives are built.
//!
//! The quota is for one process. An archive takes more of it than its size: until it is complete, its CSV part is there
//! twice, and so is its workbook. A file has no name, so nothing is left of it after `kill -9`, and nothing is ever emptied at start. A
//! [`AttemptQuota`] is the part of the spool that one attempt holds. When its files are gone, its part of the quota is free
//! again.

use std::{
    fs::{DirBuilder, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, ensure};

use crate::{failure::Failure, pulse::Pulse};

/// A directory that all attempts of a worker share, and how much of it they may use.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    quota: u64,
    used: Arc<AtomicU64>,
}

impl Spool {
    /// Opens the spool. Makes the directory with mode 0700 if there is none.
    pub fn new(directory: &Path, quota: u64) -> anyhow::Result<Self> {
        make(directory)?;
        let found = std::fs::metadata(directory)
            .with_context(|| format!("failed to read the spool directory `{}`", directory.display()))?;
        ensure!(
            found.uid() == rustix::process::geteuid().as_raw(),
            "the spool directory `{}` belongs to user {}, not to this one ({}); name a separate one",
            directory.display(),
            found.uid(),
            rustix::process::geteuid().as_raw()
        );
        let mode = found.permissions().mode();
        ensure!(
            mode & 0o077 == 0,
            "the spool directory `{}` is open to other users (mode {:o}); give it mode 700, or name a separate one",
            directory.display(),
            mode & 0o777
        );
        Ok(Self { directory: directory.to_owned(), quota, used: Arc::default() })
    }

    /// Returns the bytes that all files of the spool take together.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the maximum of these bytes.
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// Makes sure that archives can be written, for the check whether this worker can serve.
    ///
    /// # Errors
    /// When no file can be made in the directory, or no byte can be written to it.
    pub fn check(&self) -> anyhow::Result<()> {
        let written = self.anonymous().and_then(|mut file| file.write_all(b" "));
        written.with_context(|| format!("failed to write to the spool `{}`", self.directory.display()))
    }

    /// Makes a file without a name that does not count towards the quota: only for data smaller than a block of the disk.
    pub(crate) fn scratch(&self) -> anyhow::Result<File> {
        let made = self.anonymous().map_err(|error| named(error.into()));
        made.with_context(|| format!("failed to create a file in the spool `{}`", self.directory.display()))
    }

    /// Makes a file without a name. Makes the directory again if it was removed under the worker, as happens below a
    /// temporary folder.
    fn anonymous(&self) -> io::Result<File> {
        match tempfile::tempfile_in(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&self.directory).map_err(|_| error)?;
                tracing::warn!(
                    "The spool directory `{}` was removed while the worker ran, and was made again: find out what removes it",
                    self.directory.display()
                );
                tempfile::tempfile_in(&self.directory)
            }
            made => made,
        }
    }

    /// Starts the share of one attempt.
    pub fn share(&self, pulse: &Pulse) -> AttemptQuota {
        AttemptQuota {
            spool: self.clone(),
            mine: Arc::default(),
            pulse: pulse.clone(),
            refused: Arc::default(),
        }
    }
}

fn make(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("failed to create the spool directory `{}`", directory.display()))
}

/// The part of the spool that one attempt holds.
#[derive(Clone, Debug)]
pub struct AttemptQuota {
    spool: Spool,
    mine: Arc<AtomicU64>,
    pulse: Pulse,
    refused: Arc<OnceLock<SpoolRefusal>>,
}

impl AttemptQuota {
    /// Makes an empty file.
    pub fn file(&self) -> anyhow::Result<SpoolFile> {
        let file = self.spool.scratch()?;
        let guard = QuotaGuard { share: self.clone(), bytes: 0 };
        Ok(SpoolFile { file: BufWriter::new(file), position: 0, guard })
    }

    fn take(&self, bytes: u64) -> Result<(), SpoolRefusal> {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.spool.quota);
        if self.spool.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok() {
            self.mine.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        let mine = self.mine.load(Ordering::Relaxed).saturating_add(bytes);
        Err(if mine > self.spool.quota {
            SpoolRefusal::QuotaExceeded(self.spool.quota)
        } else {
            SpoolRefusal::Full
        })
    }

    fn give_back(&self, bytes: u64) {
        self.spool.used.fetch_sub(bytes, Ordering::Relaxed);
        self.mine.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Keeps the part of the quota that a file takes, until it is dropped.
#[derive(Debug)]
pub struct QuotaGuard {
    share: AttemptQuota,
    bytes: u64,
}

impl Drop for QuotaGuard {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

/// Why the spool takes no more. It passes through the writers above inside an [`io::Error`]; [`named`] takes it out.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the spool takes no more")]
enum SpoolRefusal {
    Full,
    QuotaExceeded(u64),
    Interrupted,
}

impl From<SpoolRefusal> for Failure {
    fn from(refusal: SpoolRefusal) -> Self {
        match refusal {
            SpoolRefusal::Full => Self::SpoolFull,
            SpoolRefusal::QuotaExceeded(quota) => Self::SpoolQuotaExceeded { quota },
            SpoolRefusal::Interrupted => Self::Interrupted,
        }
    }
}

/// Makes the error of a writer whose reader has ended and reports the reason itself. [`named`] recognises it.
pub fn interrupted() -> io::Error {
    io::Error::other(SpoolRefusal::Interrupted)
}

/// Names the failure behind an error of a writer on top of a [`SpoolFile`], so that its class can be decided.
pub fn named(error: anyhow::Error) -> anyhow::Error {
    let failure = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).find_map(|cause| {
        if let Some(refusal) = cause.get_ref().and_then(|inner| inner.downcast_ref::<SpoolRefusal>()) {
            return Some(Failure::from(*refusal));
        }
        let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        full.then_some(Failure::SpoolFull)
    });
    match failure {
        Some(failure) => failure.into(),
        None => error,
    }
}

/// A file of the spool. Each write beats the attempt's pulse, and fails when it is cancelled. Small writes are
/// buffered: a zip has a dozen of two or four bytes for each entry.
///
/// After the first refused write all files of the attempt discard what is written to them: a compressor that is dropped
/// still tries to finish its entry. [`into_parts`](Self::into_parts) refuses such a file.
#[derive(Debug)]
pub struct SpoolFile {
    file: BufWriter<File>,
    position: u64,
    guard: QuotaGuard,
}

impl SpoolFile {
    /// Returns the file itself, and the guard of its part of the quota.
    pub fn into_parts(mut self) -> anyhow::Result<(File, QuotaGuard)> {
        self.flush()?;
        if let Some(refusal) = self.refused().get() {
            return Err(Failure::from(*refusal).into());
        }
        Ok((self.file.into_parts().0, self.guard))
    }

    fn refused(&self) -> &OnceLock<SpoolRefusal> {
        &self.guard.share.refused
    }

    /// After an error of the disk nothing more is written.
    fn failed(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::Interrupted {
            let _ = self.refused().set(SpoolRefusal::Full);
        }
        error
    }

    fn refuse(&self, refusal: SpoolRefusal) -> io::Error {
        let _ = self.refused().set(refusal);
        io::Error::other(refusal)
    }
}

impl Write for SpoolFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.refused().get().is_some() {
            self.position += bytes.len() as u64;
            return Ok(bytes.len());
        }
        if self.guard.share.pulse.is_cancelled() {
            return Err(self.refuse(SpoolRefusal::Interrupted));
        }
        let growth = (self.position + bytes.len() as u64).saturating_sub(self.guard.bytes);
        if growth > 0 {
            self.guard.share.take(growth).map_err(|refusal| self.refuse(refusal))?;
            self.guard.bytes += growth;
        }
        let written = self.file.write(bytes).map_err(|error| self.failed(error))?;
        self.position += written as u64;
        self.guard.share.pulse.beat(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.refused().get().is_some() {
            return Ok(());
        }
        self.file.flush().map_err(|error| self.failed(error))
    }
}

impl Read for SpoolFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush()?;
        let read = self.file.get_mut().read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for SpoolFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if self.refused().get().is_some() && !matches!(to, SeekFrom::Start(_)) {
            return Ok(self.position);
        }
        self.flush()?;
        self.position = self.file.get_mut().seek(to)?;
        Ok(self.position)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(quota: u64) -> (tempfile::TempDir, Spool) {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(&directory.path().join("spool"), quota).unwrap();
        (directory, spool)
    }

    fn failure(error: io::Error) -> anyhow::Error {
        named(anyhow::Error::new(error).context("while writing"))
    }

    #[test]
    fn a_directory_that_is_removed_under_the_worker_is_made_again_with_its_mode() {
        let (directory, spool) = spool(100);
        let folder = directory.path().join("spool");
        std::fs::remove_dir(&folder).unwrap();
        spool.check().unwrap();
        std::fs::remove_dir(&folder).unwrap();
        let mut file = spool.share(&Pulse::default()).file().unwrap();
        file.write_all(&[1; 60]).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        // A directory that cannot be made again is reported.
        drop(file);
        std::fs::remove_dir(&folder).unwrap();
        std::fs::write(&folder, "a file").unwrap();
        let error = format!("{:#}", spool.check().unwrap_err());
        assert!(error.contains("failed to write to the spool"), "{error}");
    }

    #[test]
    fn files_have_no_name_and_give_their_quota_back() {
        let (directory, spool) = spool(100);
        let share = spool.share(&Pulse::default());
        let mut file = share.file().unwrap();
        file.write_all(&[1; 60]).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&[2; 40]).unwrap();
        assert_eq!(spool.used(), 60);
        assert_eq!(std::fs::read_dir(directory.path().join("spool")).unwrap().count(), 0);
        let (_file, guard) = file.into_parts().unwrap();
        assert_eq!(spool.used(), 60);
        drop(guard);
        assert_eq!(spool.used(), 0);
    }

    #[test]
    fn small_writes_reach_the_disk_together() {
        // Calls of this thread alone; other tests run beside it.
        let calls = || -> u64 {
            let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
            let count = counts.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap();
            count.parse().unwrap()
        };
        let (_directory, spool) = spool(1 << 20);
        let mut file = spool.share(&Pulse::default()).file().unwrap();
        let before = calls();
        for written in 0..1000 {
            assert_eq!(file.stream_position().unwrap(), 4 * written);
            file.write_all(b"zip!").unwrap();
        }
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(calls() - before < 5, "{} calls", calls() - before);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "zip!".repeat(1000));
    }

    #[test]
    fn one_archive_over_the_quota_is_its_own_fault_and_several_together_are_not() {
        let (_directory, spool) = spool(100);
        let (one, other) = (spool.share(&Pulse::default()), spool.share(&Pulse::default()));
        let mut first = one.file().unwrap();
        first.write_all(&[0; 70]).unwrap();
        let error = failure(other.file().unwrap().write_all(&[0; 40]).unwrap_err());
        assert!(matches!(error.downcast_ref(), Some(Failure::SpoolFull)), "{error:?}");
        let mut second = one.file().unwrap();
        let error = failure(second.write_all(&[0; 40]).unwrap_err());
        assert!(
            matches!(error.downcast_ref(), Some(Failure::SpoolQuotaExceeded { quota: 100 })),
            "{error:?}"
        );
        second.write_all(b"swallowed").unwrap();
        assert!(second.into_parts().is_err());
        assert_eq!(spool.used(), 70);
    }

    #[test]
    fn a_cancelled_attempt_writes_no_more() {
        let (_directory, spool) = spool(100);
        let pulse = Pulse::default();
        let mut file = spool.share(&pulse).file().unwrap();
        file.write_all(b"12345").unwrap();
        assert_eq!(pulse.moved(), 5);
        pulse.cancel();
        let error = failure(file.write_all(b"1").unwrap_err());
        assert!(matches!(error.downcast_ref(), Some(Failure::Interrupted)), "{error:?}");
    }

    #[test]
    fn the_files_of_an_attempt_that_has_failed_swallow_what_is_written_and_are_not_given_out() {
        let (_directory, spool) = spool(100);
        let share = spool.share(&Pulse::default());
        let (mut one, mut other) = (share.file().unwrap(), share.file().unwrap());
        one.write_all(&[0; 101]).unwrap_err();
        other.write_all(&[0; 101]).unwrap();
        let error = other.into_parts().unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Failure::SpoolQuotaExceeded { quota: 100 })),
            "{error:?}"
        );
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        // Only the superuser can give a directory away, or owns the root directory.
        let given_away = tempfile::tempdir().unwrap();
        let directory = match std::os::unix::fs::chown(given_away.path(), Some(65_534), None) {
            Ok(()) => given_away.path(),
            Err(_) => Path::new("/"),
        };
        let error = Spool::new(directory, 1).unwrap_err();
        assert!(error.to_string().contains("belongs to user"), "{error}");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Spool::new(directory.path(), 1).unwrap_err();
        assert!(error.to_string().contains("mode 755"), "{error}");
    }
}
