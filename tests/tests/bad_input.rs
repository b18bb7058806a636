//! What bad input gets: the server goes on for the healthy regions, and every command says what is wrong where.

use std::process::{Command, Stdio};
use std::time::Duration;

use tachograph::{BuildError, Region};
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually, tacho};
use tachograph_tests::tmpfs::{self, Tmpfs};

#[test]
fn serve_goes_on_beside_files_that_are_no_regions() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path").to_owned();
    let region = Region::builder("healthy").dir(folder.path()).build().expect("a region");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    served.add(41);
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.args(["serve", "--region-dir", &dir, "--web.listen-address", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _serve = Running::start(&mut command);
    let scrape = || Exposition::parse(&get(port, "/metrics").expect("a scrape").body);
    eventually("the first scrape", Duration::from_secs(20), || get(port, "/metrics"));

    let whole = std::fs::read(region.path().expect("a file")).expect("the region's bytes");
    let mut noise = vec![0x5a_u8; 100_000];
    for (index, byte) in noise.iter_mut().enumerate() {
        *byte = (index.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    let bad: [(&str, &[u8]); 5] = [
        ("empty", &[]),
        ("short", &whole[..1000]),
        ("cut", &whole[..whole.len() / 2]),
        ("noise", &noise),
        ("text", b"not a region\n"),
    ];
    for (name, bytes) in bad {
        std::fs::write(folder.path().join(format!("{name}.tacho")), bytes).expect("a bad file");
        served.inc();
        let parsed = scrape();
        assert_eq!(parsed.integer("app_served_total"), i128::from(served.get()), "with {name}");
        let shown = tacho(&["show", name, "--region-dir", &dir]);
        let said = String::from_utf8_lossy(&shown.stderr);
        assert_eq!(shown.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&format!("{name}.tacho")), "{name}: {said}");
    }
    let listed = tacho(&["ls", "--json", "--region-dir", &dir]);
    assert_eq!(listed.status.code(), Some(1), "ls exits 1 on problems");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["problems"].as_array().map(Vec::len), Some(bad.len()), "{listed}");
    assert_eq!(listed["regions"].as_array().map(Vec::len), Some(1), "{listed}");
    region.close();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    let folder = tmpfs::folder();
    let mut command = Command::new("sh");
    // 100 blocks of 512 bytes, in which no region fits.
    command.args(["-c", "ulimit -f 100; exec \"$@\"", "sh"]).arg(binary("meeting-controller"));
    command.args(["--region", "limited", "--for", "1", "--region-dir"]).arg(folder.path());
    let output = command.stdin(Stdio::null()).output().expect("the controller runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?}: {said}", output.status);
    assert!(said.contains("RLIMIT_FSIZE") && said.contains("limited.tacho"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the directory").count(), 0, "nothing half-made is left");
}

#[test]
fn a_full_tmpfs_is_an_error_that_leaves_nothing_behind() {
    let full = Tmpfs::new("1m");
    let error = Region::builder("too-big").dir(full.path()).build().expect_err("3 MiB do not fit 1 MiB");
    assert!(matches!(error, BuildError::Full { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(full.path().to_str().expect("UTF-8 path")), "{said}");
    let left: Vec<_> = std::fs::read_dir(full.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| name != "too-big.lock")
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let private = Region::builder("too-big").dir(full.path()).build_or_private();
    assert!(private.is_private());
    private.counter("app_served_total", "Requests served").expect("metrics are no outage").inc();
}

#[test]
fn a_directory_on_disk_is_refused_unless_asked_for() {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on disk");
    let kind = rustix::fs::statfs(disk.path()).expect("statfs").f_type;
    assert_ne!(kind, 0x0102_1994, "the tests' own folder must be on a disk file system");
    let error = Region::builder("on-disk").dir(disk.path()).build().expect_err("a disk can stall the writer");
    let said = error.to_string();
    assert!(said.contains("tmpfs") && said.contains(disk.path().to_str().expect("UTF-8 path")), "{said}");
    let region = Region::builder("on-disk").dir(disk.path()).allow_disk_backed(true).build().expect("asked for");
    assert!(!region.is_private());
}

#[test]
fn a_live_owner_is_named() {
    let folder = tmpfs::folder();
    let first = Region::builder("mine").dir(folder.path()).build().expect("a region");
    let error = Region::builder("mine").dir(folder.path()).build().expect_err("owned");
    assert!(matches!(error, BuildError::Owned { .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    first.close();
    Region::builder("mine").dir(folder.path()).build().expect("free again");
}

#[test]
fn bad_usage_exits_2_and_a_missing_region_is_named() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path");
    assert_eq!(tacho(&["ls", "--no-such-flag"]).status.code(), Some(2));
    let shown = tacho(&["show", "nobody", "--region-dir", dir]);
    let said = String::from_utf8_lossy(&shown.stderr);
    assert_eq!(shown.status.code(), Some(1), "{said}");
    assert!(said.contains("nobody") && said.contains(dir), "{said}");
}
