//! The user's files from object storage, in the archive: safe names, and what could not be included.

use std::{fs::File, io};

use crate::{
    archive::{
        Attaching,
        compressor::{write_from, write_whole},
        manifest::{self, AttachedFile, MissingFile},
    },
    blocking,
    pulse::Pulse,
    spool::{self, QuotaGuard, named},
};

pub use crate::archive::manifest::Missing;

/// A longer name is cut, so that every system can unpack it.
const NAME_CHARACTERS: usize = 100;

/// A file, or why it is not there.
#[derive(Debug)]
pub struct Attached {
    /// Its name on the platform, which may be anything.
    pub name: String,
    /// What names its row.
    pub row: String,
    /// Its media type, as the platform or the store says.
    pub content_type: Option<String>,
    /// Its contents.
    pub bytes: Result<Bytes, Missing>,
}

/// The contents of a file.
#[derive(Debug)]
pub enum Bytes {
    /// In memory.
    Small(Vec<u8>),
    /// In the spool, open at its beginning.
    Spooled(File, QuotaGuard),
}

impl Attaching {
    /// Adds a set of files. `more` are those that are too many.
    pub fn begin_set(&mut self, name: &str, entity: &str, about: &str, more: u64) {
        self.sets.push(manifest::FileSet {
            name: name.to_owned(),
            entity: entity.to_owned(),
            about: about.to_owned(),
            files: Vec::new(),
            missing: Vec::new(),
            too_many: more,
        });
    }

    /// Adds a file to the set with this index. Sets come in their order.
    pub async fn add(mut self, set: usize, file: Attached, pulse: &Pulse) -> anyhow::Result<Self> {
        let Some(described) = self.sets.get_mut(set) else { anyhow::bail!("there is no set {set} of files") };
        let number = described.files.len() + described.missing.len() + 1;
        let bytes = match file.bytes {
            Ok(bytes) => bytes,
            Err(why) => {
                described.missing.push(MissingFile { row: file.row, name: safe(&file.name), why });
                return Ok(self);
            }
        };
        let name = format!("files/{}/{number}-{}", described.name, safe(&file.name));
        described.files.push(AttachedFile {
            name: name.clone(),
            row: file.row,
            content_type: file.content_type,
        });
        let pulse = pulse.clone();
        blocking::run("add a file", move || {
            let written = match bytes {
                Bytes::Small(bytes) => write_whole(&mut self.zip, &name, &bytes),
                Bytes::Spooled(file, _hold) => write_from(&mut self.zip, &name, Beating { file, pulse }),
            };
            self.files.push(written.map_err(named)?);
            Ok(self)
        })
        .await
    }
}

/// Counts what is read as movement, and ends with the attempt.
struct Beating {
    file: File,
    pulse: Pulse,
}

impl io::Read for Beating {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pulse.check().map_err(|_| spool::interrupted())?;
        let read = self.file.read(buffer)?;
        self.pulse.beat(read as u64);
        Ok(read)
    }
}

/// Makes a name that is a plain file name on every system. A number before it keeps it apart from others.
fn safe(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_matches('.');
    // The end of a name says what a file is.
    let cut = name.len().saturating_sub(NAME_CHARACTERS);
    if name.is_empty() { "file".to_owned() } else { name[cut..].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_file_name_whatever_the_platform_says() {
        for (name, expected) in [
            ("photo.JPG", "photo.JPG"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\windows\\a b.txt", "C__windows_a_b.txt"),
            ("", "file"),
            ("...", "file"),
            ("r\u{e9}sum\u{e9}\u{202e}gpj.exe", "r_sum__gpj.exe"),
            ("a\0b\n", "a_b_"),
        ] {
            assert_eq!(safe(name), expected, "{name:?}");
        }
        let long = safe(&format!("{}.tar.gz", "x".repeat(300)));
        assert_eq!((long.len(), long.ends_with("x.tar.gz")), (100, true));
    }
}
