//! Keys of the payload codec.

use std::{collections::BTreeMap, fs, path::Path};

/// Keys in a separate file of the test.
pub(crate) struct Keys(tempfile::TempDir);

impl Keys {
    pub(crate) fn new(ids: &[&str]) -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        keys.write(ids);
        keys
    }

    /// Each id has its key, the same every time.
    pub(crate) fn write(&self, ids: &[&str]) {
        let line = |id: &&str| format!("{id} {}\n", hex::encode(id.repeat(32).as_bytes().split_at(32).0));
        fs::write(self.path(), ids.iter().map(line).collect::<String>()).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self) -> String {
        self.0.path().join("codec.keys").display().to_string()
    }

    pub(crate) fn set(&self, environment: &mut BTreeMap<String, String>) {
        environment.insert("EXPORT_CODEC_KEY_FILE".to_owned(), self.path());
    }
}
