//! `tacho ls` where the directory is not as it should be: a region removed under its living writer, and more regions
//! than a process may have files open at first.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tachograph::Region;
use tachograph_tests::process::{binary, eventually, tacho};
use tachograph_tests::tmpfs;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

fn ls(dir: &Path) -> (Option<i32>, String) {
    let listed = tacho(&["ls", "--region-dir", text(dir)]);
    let said = format!("{}{}", String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    (listed.status.code(), said)
}

#[test]
fn a_region_removed_under_its_living_writer_is_a_problem() {
    let folder = tmpfs::folder();
    let region = Region::builder("lost").dir(folder.path()).build().expect("a region");
    let path = folder.path().join("lost.tacho");
    // A lock alone, held by nobody, says nothing: a start may have failed there.
    fs::write(folder.path().join("idle.lock"), b"").expect("a lock file");
    assert_eq!(ls(folder.path()).0, Some(0));
    fs::remove_file(&path).expect("the region file");
    let (code, said) = ls(folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(text(&path)) && said.contains("its region file is gone"), "{said}");
    assert!(!said.contains("idle"), "{said}");
    let shown = tacho(&["show", "lost", "--region-dir", text(folder.path())]);
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert_eq!(shown.status.code(), Some(1), "{said}");
    assert!(said.contains("its region file is gone"), "{said}");
    // A start under way has its temporary file there.
    let temporary = folder.path().join(".lost.0123456789abcdef0123456789abcdef.tmp");
    fs::write(&temporary, b"").expect("a temporary file");
    assert_eq!(ls(folder.path()).0, Some(0), "a writer that is just starting");
    fs::remove_file(&temporary).expect("the temporary file");
    region.close();
    assert_eq!(ls(folder.path()).0, Some(0), "nobody holds the lock any more");
}

/// A writer that starts and ends all the time is never told to have lost its file.
#[test]
fn a_start_is_no_lost_file() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_owned();
    let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = std::sync::Arc::clone(&end);
    let starter = std::thread::spawn(move || {
        let mut starts = 0;
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            Region::builder("busy").dir(&dir).lanes(16).keep_archived(1).build().expect("a region").close();
            starts += 1;
            // A process maps what it closed until it ends: not too many.
            std::thread::sleep(Duration::from_millis(10));
        }
        starts
    });
    eventually("the first region", Duration::from_secs(10), || folder.path().join("busy.tacho").exists().then_some(()));
    for _ in 0..20 {
        let (_, said) = ls(folder.path());
        assert!(!said.contains("is gone"), "{said}");
    }
    end.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(starter.join().expect("no panic") > 10, "it started while it was listed");
}

#[test]
fn more_regions_than_open_files_are_listed_all() {
    let folder = tmpfs::folder();
    let region = Region::builder("many").dir(folder.path()).build().expect("a region");
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).expect("a folder");
    for number in 0..200 {
        fs::hard_link(folder.path().join("many.tacho"), copies.join(format!("copy-{number}.tacho"))).expect("a link");
    }
    let listed = Command::new("/bin/sh")
        .args(["-c", "ulimit -Sn 64 && exec \"$0\" ls --json --region-dir \"$1\""])
        .arg(binary("tacho"))
        .arg(&copies)
        .output()
        .expect("a shell");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["problems"].as_array().map(Vec::len), Some(0), "{}", listed["problems"]);
    assert_eq!(listed["regions"].as_array().map(Vec::len), Some(200));
    region.close();
}
