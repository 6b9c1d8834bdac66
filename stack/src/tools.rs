//! The paths of the stack's programs, and their environment.
//!
//! `tools/setup` finds or installs the servers and makes links to them in `.tools`. The stack finds them only there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Returns the root of the repository in which this crate was built.
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Returns one of the servers that were built or found by `tools/setup`.
pub fn server(name: &str) -> anyhow::Result<PathBuf> {
    found(&root().join(".tools/bin").join(name))
}

/// Returns the folder with PostgreSQL's server programs.
pub fn postgresql() -> anyhow::Result<PathBuf> {
    found(&root().join(".tools/postgresql"))
}

fn found(link: &Path) -> anyhow::Result<PathBuf> {
    // The link may be in a folder that PostgreSQL's own user may not enter.
    link.canonicalize().with_context(|| format!("`{}` is missing: run `make tools`", link.display()))
}

/// Returns this crate's own program, `export-stack`.
pub fn stack_program() -> anyhow::Result<PathBuf> {
    sibling("export-stack")
}

/// Returns the production binary, built in the same folder as this program.
pub fn worker_program() -> anyhow::Result<PathBuf> {
    sibling("export-worker")
}

/// Fails if a source is newer than the production binary. `cargo test` alone does not build it, and a stale binary
/// proves nothing.
pub fn check_worker_is_fresh() -> anyhow::Result<()> {
    let program = worker_program()?;
    let sources = program.with_extension("d");
    let text = std::fs::read_to_string(&sources)
        .with_context(|| format!("failed to read `{}`, which Cargo writes", sources.display()))?;
    let age = |path: &Path| {
        let found = path.metadata().and_then(|metadata| metadata.modified());
        found.with_context(|| format!("failed to inspect `{}`", path.display()))
    };
    let built = age(&program)?;
    let (_, sources) = text.split_once(": ").context("Cargo's list of sources has another form")?;
    // A space in a path follows a backslash.
    for source in sources.replace("\\ ", "\0").split_ascii_whitespace() {
        let source = source.replace('\0', " ");
        if age(Path::new(&source))? > built {
            bail!("`{}` is older than `{source}`: run `cargo build --workspace`", program.display());
        }
    }
    Ok(())
}

/// Finds a program in the folder of the running program or one above it, because Cargo puts test programs one folder
/// deeper.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe().context("failed to find the running program")?;
    for folder in me.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("`{name}` was not built beside `{}`: run `cargo build --workspace`", me.display())
}

/// Returns the first executable of this name on the PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Calls `remove` for every variable of this process that would change the behaviour of a server or the worker.
///
/// A developer's own AWS profile or PostgreSQL settings must not leak into a throw-away stack.
pub fn clean_environment(mut remove: impl FnMut(&str)) {
    const PREFIXES: [&str; 6] = ["EXPORT_", "AWS_", "TEMPORAL_", "PG", "VGW_", "ROOT_"];
    for (name, _) in std::env::vars_os() {
        if let Some(name) = name.to_str()
            && (PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name == "DATABASE_URL")
        {
            remove(name);
        }
    }
}
