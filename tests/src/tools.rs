//! Where the programs are that the stack is made of, and the environment that they get.
//!
//! `tools/setup` finds or installs the servers and leaves links to them in `.tools`: this is the only place where
//! they are looked for here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Gives the root of the repository in which this crate was built.
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Gives one of the servers that were built or found by `tools/setup`.
pub fn server(name: &str) -> anyhow::Result<PathBuf> {
    found(&root().join(".tools/bin").join(name))
}

/// Gives the folder with PostgreSQL's server programs.
pub fn postgresql() -> anyhow::Result<PathBuf> {
    found(&root().join(".tools/postgresql"))
}

fn found(link: &Path) -> anyhow::Result<PathBuf> {
    // The link may stand in a folder that PostgreSQL's own user may not enter.
    link.canonicalize().with_context(|| format!("`{}` is missing: run `make tools`", link.display()))
}

/// Gives this crate's own program, `export-stack`.
pub fn stack_program() -> anyhow::Result<PathBuf> {
    sibling("export-stack")
}

/// Gives the production binary, built beside this program.
pub fn worker_program() -> anyhow::Result<PathBuf> {
    sibling("export-worker")
}

/// Fails if a source is younger than the production binary: `cargo test` alone does not build it, and a stale one would
/// prove nothing.
pub fn check_worker_is_fresh() -> anyhow::Result<()> {
    let program = worker_program()?;
    let sources = program.with_extension("d");
    let text = std::fs::read_to_string(&sources)
        .with_context(|| format!("failed to read `{}`, which Cargo writes", sources.display()))?;
    let age = |path: &Path| {
        let found = path.metadata().and_then(|metadata| metadata.modified());
        found.with_context(|| format!("failed to look at `{}`", path.display()))
    };
    let built = age(&program)?;
    let (_, sources) = text.split_once(": ").context("Cargo's list of sources has another form")?;
    // A space within a path stands behind a backslash.
    for source in sources.replace("\\ ", "\0").split_ascii_whitespace() {
        let source = source.replace('\0', " ");
        if age(Path::new(&source))? > built {
            bail!("`{}` is older than `{source}`: run `cargo build --workspace`", program.display());
        }
    }
    Ok(())
}

/// Looks beside the running program, and above it: Cargo puts test programs one folder deeper.
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

/// Gives the first executable of this name on the PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Names every variable of this process that would change what a server or the worker does.
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
