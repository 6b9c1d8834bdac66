//! The verifier stays within its memory, whatever an archive holds or claims to hold.

use std::path::Path;

use export_activities::serialise::ValueKind;
use export_verify::verify;

use crate::{
    support::sample::{contents, entity, row, write},
    values::verify::{find, join, parts, redigested, refused, sound},
};

#[tokio::test]
async fn bombs_are_refused_before_they_inflate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    // Headers and manifest say 100 bytes, the data inflates to 256 MiB.
    let mut bomb = parts(&bytes);
    bomb[0].1 = vec![b' '; 256 << 20];
    let mut told = bomb.clone();
    told[0].1 = vec![b' '; 100];
    let manifest = redigested(told).pop().unwrap();
    *bomb.last_mut().unwrap() = manifest;
    let mut bomb = join(bomb);
    let central = find(&bomb, b"PK\x01\x02");
    for place in [22, central + 24] {
        bomb[place..place + 4].copy_from_slice(&100u32.to_le_bytes());
    }
    refused(&path, &bomb, "README.txt");
    // An honest size, but not that of the manifest.
    let mut bomb = parts(&bytes);
    bomb[0].1 = vec![b' '; 64 << 20];
    refused(&path, &join(bomb), "`README.txt` has 67108864 bytes, the manifest says");
    let mut large = parts(&bytes);
    large.last_mut().unwrap().1.extend(vec![b' '; 17 << 20]);
    refused(&path, &join(large), "more than 16777216");
}

#[tokio::test]
async fn memory_stays_flat_whatever_the_rows_and_the_cells() {
    const ARCHIVE: &str = "EXPORT_TEST_VERIFY_ARCHIVE";
    if let Some(path) = std::env::var_os(ARCHIVE) {
        // This is the process that is measured: how much more the large archive takes than a small one, which
        // has brought the program's own pages into memory.
        verify(&Path::new(&path).with_file_name("small.zip"), None).unwrap();
        let before = peak_kib();
        let report = verify(Path::new(&path), None).unwrap();
        assert_eq!(report.entities[0].rows, 50_001);
        let grown = peak_kib() - before;
        assert!(grown < 4 << 10, "verifying took {grown} KiB");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text)];
    let small = vec![row(1, Some("a cell"))];
    write(contents(vec![entity("users", columns.clone())]), vec![small], &path.with_file_name("small.zip"))
        .await;
    let huge = row(0, Some(&"a cell, \"long\"\n".repeat(1 << 20)));
    let rows = (1..=50_000).map(|id| row(id, Some("a cell"))).chain([huge]).collect();
    write(contents(vec![entity("users", columns)]), vec![rows], &path).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "values::verify_bounds::memory_stays_flat_whatever_the_rows_and_the_cells"]);
    let output = child.env(ARCHIVE, &path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The most memory that this process ever had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
