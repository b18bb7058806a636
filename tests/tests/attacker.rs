//! A file that is rewritten and cut again and again while it is scraped: the server lives, and the healthy region's
//! series are in every answer. `TACHOGRAPH_ATTACK_SECONDS` makes it longer than the few seconds of the test command.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachograph::Region;
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::tmpfs;

fn memory_and_descriptors(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kilobytes = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    (kilobytes, std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count())
}

#[test]
fn the_server_outlives_a_file_that_is_cut_and_scribbled_over() {
    let seconds = std::env::var("TACHOGRAPH_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let folder = tmpfs::folder();
    let region = Region::builder("healthy").dir(folder.path()).build().expect("a region");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let whole = std::fs::read(region.path().expect("a file")).expect("the region's bytes");
    let victim = folder.path().join("victim.tacho");
    std::fs::write(&victim, &whole).expect("a copy");

    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(folder.path());
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Running::start(&mut command);
    eventually("the first scrape", Duration::from_secs(20), || get(port, "/metrics"));

    let stop = AtomicBool::new(false);
    let scrapes = std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&victim).expect("the copy");
            let mut seed = 1_u64;
            while !stop.load(Ordering::Relaxed) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = (seed >> 16) % whole.len() as u64;
                match seed >> 62 {
                    0 => file.set_len(place & !7).expect("cut"),
                    1 => file.set_len(whole.len() as u64).expect("grown again"),
                    2 => file.write_all_at(&seed.to_le_bytes(), place & !7).expect("scribbled"),
                    _ => file.write_all_at(&whole, 0).expect("mended"),
                }
            }
        });
        let start = Instant::now();
        let mut scrapes = 0_u64;
        let mut settled = None;
        while start.elapsed() < Duration::from_secs(seconds) {
            served.inc();
            let reply = get(port, "/metrics").expect("every scrape is answered");
            assert_eq!(reply.status, 200);
            let parsed = Exposition::parse_of_region(&reply.body, "healthy");
            assert_eq!(parsed.integer("app_served_total"), i128::from(served.get()));
            scrapes += 1;
            if settled.is_none() && start.elapsed() > Duration::from_secs(seconds / 2) {
                settled = Some(memory_and_descriptors(server.0.id()));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (memory, descriptors) = settled.expect("half time passed");
        let (memory_now, descriptors_now) = memory_and_descriptors(server.0.id());
        assert!(memory_now < memory + 16 * 1024, "memory grew from {memory} to {memory_now} KiB");
        assert!(descriptors_now <= descriptors + 8, "descriptors grew from {descriptors} to {descriptors_now}");
        scrapes
    });
    assert!(scrapes > 10, "only {scrapes} scrapes");
    assert_eq!(server.0.try_wait().expect("the server can be asked"), None, "the server lives");
    region.close();
}
