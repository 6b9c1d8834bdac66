//! Renders `.env.sample` and `docs/CONFIGURATION.md`, and keeps both equal to the table.
//!
//! Temporal's variables (`TEMPORAL_*`) and AWS's (`AWS_*`) are read by their SDKs, so both files only name them.

use std::fmt::Write as _;

use super::{GROUPS, Variable};

/// What `.env.sample` says of the variables that are not ours.
const FOREIGN: &str = "\
# --- Temporal (read by its SDK; or a profile of temporal/temporal.toml) ---

# TEMPORAL_ADDRESS=127.0.0.1:7233
# TEMPORAL_NAMESPACE=default
# TEMPORAL_CONFIG_FILE=temporal/temporal.toml
# TEMPORAL_PROFILE=default
# TEMPORAL_API_KEY=
# TEMPORAL_TLS_CLIENT_CERT_PATH=
# TEMPORAL_TLS_CLIENT_KEY_PATH=
# TEMPORAL_TLS_SERVER_CA_CERT_PATH=

# --- AWS (read by its SDK: environment, profile, web identity, container, instance) ---

# AWS_REGION=eu-central-1
# AWS_ACCESS_KEY_ID=
# AWS_SECRET_ACCESS_KEY=

# --- Logs ---

# RUST_LOG=info
";

/// Renders `.env.sample`.
fn sample() -> String {
    let mut out = String::from(
        "# Every variable of export-worker. A line that begins with `# NAME=` shows the default or an example.\n\
         # Times: 250ms, 30s, 5m, 24h. Sizes: 512KiB, 16MiB, 20GiB.\n",
    );
    for group in &GROUPS {
        let _ = write!(out, "\n# --- {} ---\n", group.title);
        for variable in group.variables {
            out.push('\n');
            for line in wrap(&about(variable), 108) {
                let _ = writeln!(out, "# {line}");
            }
            let value = if variable.default.is_empty() { variable.example } else { variable.default };
            let _ = writeln!(out, "# {}={value}", variable.name);
        }
    }
    out.push('\n');
    out.push_str(FOREIGN);
    out
}

/// Returns what a variable means, with its bounds.
fn about(variable: &Variable) -> String {
    let bounds = variable.bounds.show().map(|[least, most]| format!(" From {least} to {most}."));
    format!("{}{}", variable.about, bounds.unwrap_or_default())
}

/// How `docs/CONFIGURATION.md` begins.
const INTRODUCTION: &str = "\
# Configuration

`export-worker` reads its configuration from environment variables. It names all mistakes at once and exits with code 2.
Write times as `250ms`, `30s`, `5m`, `24h`, and sizes as `512KiB`, `16MiB`, `20GiB`. [.env.sample](../.env.sample) is the
same table as a file to copy. Both are generated from `worker/src/config/variable.rs`.
";

/// What `docs/CONFIGURATION.md` says of the variables that are not ours.
const OTHERS: &str = "
## Variables of other programs

- **Temporal**: the SDK reads `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, the `TEMPORAL_TLS_*` variables,
  or a profile of the file in `TEMPORAL_CONFIG_FILE` ([temporal/temporal.toml](../temporal/temporal.toml)).
- **AWS**: the SDK reads the region and credentials from its standard chain: `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
  `AWS_SECRET_ACCESS_KEY`, profiles, web identity, container and instance roles.
- **Logs**: `RUST_LOG` sets what is logged ([LOGGING.md](LOGGING.md)). The default is `info` for `run` and `warn` for other
  commands.
";

/// Renders `docs/CONFIGURATION.md`.
fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    for group in &GROUPS {
        let _ = write!(out, "\n## {}\n\n| variable | default | meaning |\n|---|---|---|\n", group.title);
        for variable in group.variables {
            let default = match (variable.default, variable.example) {
                ("", "") => "none".to_owned(),
                ("", example) => format!("none; for example `{example}`"),
                (default, _) => format!("`{default}`"),
            };
            let _ = writeln!(
                out,
                "| `{}` | {default} | {} |",
                variable.name,
                about(variable).replace('|', "\\|")
            );
        }
    }
    out.push_str(OTHERS);
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Compares a committed file with what it must be; writes it first when `UPDATE_ENV_SAMPLE` is set.
fn assert_is_rendered(path: &str, rendered: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("UPDATE_ENV_SAMPLE").is_some() {
        std::fs::write(&path, rendered).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == rendered,
        "{} differs from the table: run this test with UPDATE_ENV_SAMPLE=1",
        path.display()
    );
}

#[test]
fn the_sample_file_is_what_the_table_says() {
    assert_is_rendered(".env.sample", &sample());
}

#[test]
fn the_reference_is_what_the_table_says() {
    assert_is_rendered("docs/CONFIGURATION.md", &reference());
}
