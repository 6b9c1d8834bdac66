//! The folder of a cluster's data, and the user that runs its programs.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    servers::private,
    supervisor::protocol::{Program, Signal},
    tools,
};

/// The folder that holds one cluster, and the user who owns it.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) path: PathBuf,
    /// User and group to switch to; `None` for the current user.
    user: Option<(u32, u32)>,
}

impl Home {
    /// Chooses the place for the cluster of `folder`: below it if the server's user can get there, else a separate
    /// folder below `/var/tmp`.
    pub(super) fn find(folder: &Path) -> anyhow::Result<Self> {
        let me = rustix::process::geteuid();
        let user = if me.is_root() { Some(system_user("postgres")?) } else { None };
        let path = match user {
            Some(user) if !can_reach(folder, user)? => {
                let digest = hex::encode(Sha256::digest(folder.as_os_str().as_encoded_bytes()));
                PathBuf::from(format!("/var/tmp/export-{}-{}", me.as_raw(), &digest[..12]))
            }
            _ => folder.join("postgres"),
        };
        Ok(Self { path, user })
    }

    /// Returns the folder that `initdb` fills.
    pub(super) fn cluster(&self) -> PathBuf {
        self.path.join("cluster")
    }

    /// Returns whether this folder has a complete cluster.
    pub(super) fn has_cluster(&self) -> anyhow::Result<bool> {
        // The password file is removed when `initdb` is done.
        Ok(self.path.exists()
            && self.check_owner().is_ok()
            && self.cluster().join("PG_VERSION").exists()
            && !self.password_file().exists())
    }

    /// Replaces the folder with an empty one, for its user only.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        if self.path.exists() {
            self.check_owner()?;
            fs::remove_dir_all(&self.path)
                .with_context(|| format!("failed to remove `{}`", self.path.display()))?;
        }
        private::folder(&self.path)?;
        self.hand_over(&self.path)
    }

    /// Checks the owner, because any user may make a folder of this name below `/var/tmp` before us.
    fn check_owner(&self) -> anyhow::Result<()> {
        let metadata = fs::symlink_metadata(&self.path)
            .with_context(|| format!("failed to inspect `{}`", self.path.display()))?;
        let owner = self.user.map_or(rustix::process::geteuid().as_raw(), |(user, _)| user);
        ensure!(
            metadata.is_dir()
                && (metadata.uid() == owner || metadata.uid() == rustix::process::geteuid().as_raw()),
            "`{}` belongs to another user: remove it",
            self.path.display()
        );
        Ok(())
    }

    pub(super) fn hand_over(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(path, Some(user), Some(group))
                .with_context(|| format!("failed to give `{}` to PostgreSQL's user", path.display()))?;
        }
        Ok(())
    }

    fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    /// Writes the superuser's first password where only `initdb` can read it.
    pub(super) fn write_password(&self, password: &str) -> anyhow::Result<PathBuf> {
        let path = self.password_file();
        private::write(&path, password.as_bytes())?;
        self.hand_over(&path)?;
        Ok(path)
    }

    /// Describes one of PostgreSQL's programs, to be run as the owner of this folder.
    pub(super) fn program(
        &self,
        name: &str,
        arguments: Vec<String>,
        stop_with: Signal,
    ) -> anyhow::Result<Program> {
        Ok(Program {
            name: name.to_owned(),
            path: tools::postgresql()?.join(name),
            arguments,
            directory: Some(self.path.clone()),
            user: self.user,
            stop_with,
            ..Program::default()
        })
    }
}

/// Looks a user up in the system's list.
fn system_user(name: &str) -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("failed to read the list of users")?;
    for line in users.lines() {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            continue;
        }
        let ids =
            fields.nth(1).and_then(|id| id.parse().ok()).zip(fields.next().and_then(|id| id.parse().ok()));
        if let Some(ids) = ids {
            return Ok(ids);
        }
    }
    bail!(
        "PostgreSQL does not run as root and there is no user `{name}`: run `make tools`, or run this as a user"
    )
}

/// Returns whether a user may pass through every folder down to `folder`.
fn can_reach(folder: &Path, (user, group): (u32, u32)) -> anyhow::Result<bool> {
    let folder = folder.canonicalize().with_context(|| format!("failed to find `{}`", folder.display()))?;
    for above in folder.ancestors() {
        let metadata =
            fs::metadata(above).with_context(|| format!("failed to inspect `{}`", above.display()))?;
        let shift = match () {
            () if metadata.uid() == user => 6,
            () if metadata.gid() == group => 3,
            () => 0,
        };
        if (metadata.permissions().mode() >> shift) & 1 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_cannot_be_passed_by_another_user() {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let inner = home.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let (stranger, owner) = ((4_000_000_000, 4_000_000_000), fs::metadata(&inner).unwrap());
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!can_reach(&inner, stranger).unwrap());
        assert!(can_reach(&inner, (owner.uid(), owner.gid())).unwrap());
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(can_reach(&inner, stranger).unwrap());
    }
}
