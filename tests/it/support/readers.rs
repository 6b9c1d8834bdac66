//! Independent programs that open an archive, as a user may.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Opens an archive with every reader; one that is missing fails the test.
pub(crate) fn opens_everywhere(path: &Path, cells: usize) {
    for (mut reader, expected) in readers(path) {
        let name = reader.get_program().to_owned();
        let output = reader.output().unwrap_or_else(|error| panic!("{name:?} is missing: {error}"));
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name:?}: {said}");
        let expected = expected.replace("CELLS", &cells.to_string());
        assert!(said.contains(&expected), "{name:?} does not say `{expected}`: {said}");
        for complaint in ["warning", "error", "mismatch", "unexpected"] {
            let said = said.to_lowercase().replace("no errors detected", "");
            assert!(!said.contains(complaint), "{name:?}: {said}");
        }
    }
    every_json_file_is_taken_by_jq(path);
}

fn every_json_file_is_taken_by_jq(path: &Path) {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    for name in names.iter().filter(|name| name.starts_with("json/")) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::copy(&mut zip.by_name(name).unwrap(), &mut file.as_file()).unwrap();
        let output = Command::new("jq").args(["-e", "type == \"array\""]).arg(file.path()).output();
        let output = output.unwrap_or_else(|error| panic!("jq is missing: {error}"));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The readers, and a part of what each of them says of a sound archive.
pub(crate) fn readers(path: &Path) -> Vec<(Command, &'static str)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/readers");
    let command = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(path);
        command
    };
    let script = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
    // Another name than the system's own python3, which has no DuckDB.
    let strict = tools.join("bench/venv/bin/python");
    let seven = ["7zz", "7z"].into_iter().find(|name| Command::new(name).output().is_ok()).unwrap_or("7z");
    let mut bsdtar = command("bsdtar".as_ref(), &["-xOf"]);
    // The contents of all entries.
    bsdtar.stdout(Stdio::null());
    vec![
        (command("python3".as_ref(), &[&script("check.py")]), "CELLS cells\n"),
        (command(&strict, &[&script("strict.py")]), " rows\n"),
        (command("java".as_ref(), &[&script("Check.java")]), " entries\n"),
        (command("go".as_ref(), &["run", &script("check.go")]), " entries\n"),
        (command("unzip".as_ref(), &["-t"]), "No errors detected"),
        (command(seven.as_ref(), &["t"]), "Everything is Ok"),
        (command("lsar".as_ref(), &["-t"]), "OK"),
        (bsdtar, ""),
    ]
}
