//! What ARCHITECTURE.md says of files, folders and crates is true, as far as it can be searched for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use export_stack::tools;

/// Which folder never names what.
const NEVER: [(&str, &[&str]); 14] = [
    ("workflows/src", &["sqlx::", "aws_sdk_s3::", "tokio::", "export_activities::"]),
    ("activities/src/database", &["store::", "source::", "fulfil::", "passes::", "requests::", "temporal::"]),
    ("activities/src/requests", &["store::", "source::", "fulfil::", "passes::", "temporal::"]),
    ("activities/src/source", &["store::", "fulfil::", "passes::", "requests::", "temporal::"]),
    ("activities/src/catalogue", &["store::", "fulfil::", "passes::", "requests::", "temporal::"]),
    ("activities/src/serialise", &["store::", "fulfil::", "passes::", "requests::", "temporal::"]),
    ("activities/src/archive", &["fulfil::", "passes::", "requests::", "temporal::"]),
    ("activities/src/store", &["fulfil::", "passes::", "temporal::"]),
    ("activities/src/passes", &["fulfil::", "temporal::"]),
    ("activities/src/fulfil", &["passes::", "temporal::", "query!(", "query_as!(", "query_scalar!("]),
    ("activities/src", &["clap::", "std::env::", "export_worker::", "export_stack::"]),
    (
        "portal/src",
        &[
            "temporalio",
            "source::",
            "passes::",
            "catalogue::",
            "export_worker::",
            "std::env::",
            "update public.data_export_requests",
        ],
    ),
    (
        "notices/src",
        &["temporalio", "passes::", "export_worker::", "std::env::", "update public.data_export_requests"],
    ),
    ("worker/src", &["export_stack::", "insert into public.", "update public.", "delete from public."]),
];

/// Documents that name files.
const DOCUMENTS: [&str; 10] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/CATALOGUE.md",
    "docs/EMBEDDING.md",
    "docs/LOGGING.md",
    "docs/NOTICES.md",
    "docs/PERFORMANCE.md",
    "docs/PORTAL.md",
    "docs/SCALE.md",
];

/// The folders from which a path in a document may start.
const ROOTS: [&str; 13] = [
    "workflows/",
    "activities/",
    "verify/",
    "portal/",
    "notices/",
    "worker/",
    "stack/",
    "bench/",
    "tests/",
    "migrations/",
    "temporal/",
    "tools/",
    "docs/",
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the names of `never` that the code has, without its comments.
fn named<'n>(code: &str, never: &[&'n str]) -> Vec<&'n str> {
    let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let names = |name: &&&str| {
        code.iter().any(|line| {
            line.match_indices(**name).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
            })
        })
    };
    never.iter().filter(names).copied().collect()
}

/// Returns the paths in backticks that start from a folder of the repository, or from `activities/src`.
fn paths(document: &str) -> Vec<String> {
    let spans = document.split('`').skip(1).step_by(2);
    let is_path = |span: &&str| {
        !span.contains([' ', '<', '*', '{', '='])
            && (span.ends_with(".rs") || ROOTS.iter().any(|root| span.starts_with(root)))
    };
    spans.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn every_file_and_folder_that_a_document_names_is_there() {
    for name in DOCUMENTS {
        let document = fs::read_to_string(tools::root().join(name)).unwrap();
        for path in paths(&document) {
            let found = [tools::root().join(&path), tools::root().join("activities/src").join(&path)];
            assert!(found.iter().any(|path| path.exists()), "{name} names `{path}`");
        }
    }
    let control = "read `activities/src/nowhere.rs` and `fulfil.rs`, not `make test`";
    assert_eq!(paths(control), ["activities/src/nowhere.rs", "fulfil.rs"]);
}

#[test]
fn no_folder_names_what_it_must_not() {
    for (folder, never) in NEVER {
        let mut found = vec![tools::root().join(folder).with_extension("rs")];
        files(&tools::root().join(folder), &mut found);
        for file in found.iter().filter(|file| file.exists()) {
            let code = fs::read_to_string(file).unwrap();
            assert_eq!(named(&code, never), [""; 0], "{}", file.display());
        }
    }
    let control = "//! store::Store\nuse crate::{\n    store::Store,\n};\nrestore::all();\n";
    assert_eq!(named(control, &["store::"]), ["store::"]);
    assert_eq!(named("restore::all();\n/// store::Store", &["store::"]), [""; 0]);
}

#[test]
fn the_image_is_built_from_every_crate() {
    let members = fs::read_to_string(tools::root().join("Cargo.toml")).unwrap();
    let members = members.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    let context = fs::read_to_string(tools::root().join(".dockerignore")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        assert!(
            context.lines().any(|line| line == format!("!{member}")),
            ".dockerignore leaves `{member}` out"
        );
    }
}
