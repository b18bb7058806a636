//! Files that are rewritten, cut and replaced again and again while they are scraped, several at once, each by an attacker of
//! its own, and a writer that is killed whenever it is there: the server lives, every body in every format is one that readers
//! take, and the healthy region's series are in it. `TACHOGRAPH_ATTACK_SECONDS` makes it longer than the few seconds of the
//! test command.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use tachograph::Region;
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get, get_with};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::readers::{bits, read};
use tachograph_tests::scraper::{Api, PATIENCE};
use tachograph_tests::tmpfs;

/// The formats, in turns.
const FORMATS: [(&str, &str); 4] = [
    ("text", "text/plain;version=0.0.4"),
    ("openmetrics", "application/openmetrics-text;version=1.0.0"),
    ("protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
    ("json", "application/json"),
];

/// Most bodies of a format that are kept for the readers, whose start takes a good part of a second.
const KEPT: usize = 6;

/// Starts the example controller and kills it, again and again.
fn kill_writers(folder: &Path, stop: &AtomicBool) -> u64 {
    let mut killed = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut command = Command::new(binary("meeting-controller"));
        command.args(["--region", "killed", "--meetings", "2", "--rate", "500", "--region-dir"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let writer = Running::start(&mut command);
        std::thread::sleep(Duration::from_millis(40 + killed * 37 % 400));
        drop(writer);
        killed += 1;
    }
    killed
}

/// Whether `body` is in this format and holds the counter of the healthy region at `value`. What is left to the slow readers
/// is put into `kept`.
fn check(format: &'static str, body: Vec<u8>, value: u64, scrapes: u64, kept: &mut Vec<(&'static str, Vec<u8>, u64)>) {
    match format {
        "text" => {
            let parsed = Exposition::parse_of_region(std::str::from_utf8(&body).expect("UTF-8"), "healthy");
            assert_eq!(parsed.integer("app_served_total"), i128::from(value));
        }
        "json" => {
            let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let families = json["families"].as_array().expect("families");
            let of_healthy = |one: &&serde_json::Value| one["labels"]["tacho_region"] == "healthy";
            let found = families.iter().filter(|family| family["name"] == "app_served_total").find_map(|family| {
                family["series"].as_array().expect("series").iter().find(of_healthy).map(|one| one["value"].as_u64())
            });
            assert_eq!(found, Some(Some(value)));
        }
        _ => {
            let of_format = kept.iter().filter(|(kept, ..)| *kept == format).count();
            if of_format < KEPT {
                kept.push((format, body, value));
            } else if scrapes % 8 < 4 {
                let place = kept.iter().position(|(kept, ..)| *kept == format).expect("some");
                // The oldest goes: those that stay are spread over the time.
                let _ = kept.remove(place + scrapes as usize / 8 % 2);
                kept.push((format, body, value));
            }
        }
    }
}

fn memory_and_descriptors(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kilobytes = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    (kilobytes, std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count())
}

/// One attack on a file.
type Attack = fn(&mut Victim);

/// One attacked file: its path, and the bytes of a whole region of its name.
struct Victim {
    path: PathBuf,
    whole: Vec<u8>,
    seed: u64,
    /// Held, so that the file is taken for a living writer's, whose values are read at each scrape.
    _lock: File,
}

impl Victim {
    /// A copy of a region under another name, which stands in the header, too.
    fn new(folder: &Path, name: &str, region: &[u8], seed: u64) -> Self {
        let mut whole = region.to_vec();
        whole[192..196].copy_from_slice(&(name.len() as u32).to_le_bytes());
        whole[248..312].fill(0);
        whole[248..248 + name.len()].copy_from_slice(name.as_bytes());
        let lock = File::create(folder.join(format!("{name}.lock"))).expect("a lock file");
        let range = nix::libc::flock {
            l_type: nix::libc::F_WRLCK as i16,
            l_whence: nix::libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&lock, FcntlArg::F_OFD_SETLK(&range)).expect("nobody else holds it");
        let victim = Self { path: folder.join(format!("{name}.tacho")), whole, seed, _lock: lock };
        std::fs::write(&victim.path, &victim.whole).expect("a copy");
        victim
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 16
    }

    /// The file, made anew where something else stands in its place.
    fn file(&self) -> File {
        if let Ok(file) = OpenOptions::new().write(true).open(&self.path) {
            return file;
        }
        self.clear();
        std::fs::write(&self.path, &self.whole).expect("a copy");
        OpenOptions::new().write(true).open(&self.path).expect("the copy")
    }

    fn clear(&self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.path);
    }

    /// Changes words, cuts and extends.
    fn scribble(&mut self) {
        let file = self.file();
        let (what, place, word) = (self.random(), self.random() % self.whole.len() as u64, self.random());
        match what % 8 {
            0 => file.set_len(place & !7).expect("cut"),
            1 => file.set_len(self.whole.len() as u64 + place).expect("extended"),
            2 => file.set_len(self.whole.len() as u64).expect("as long as it was"),
            3 | 4 => file.write_all_at(&word.to_le_bytes(), place & !7).expect("scribbled"),
            // The control block and the tables, where a word matters.
            5 => file.write_all_at(&(word % 5_000).to_le_bytes(), (place % 150_000) & !7).expect("scribbled"),
            _ => file.write_all_at(&self.whole, 0).expect("mended"),
        }
    }

    /// A whole file whose header, control words and records lie.
    fn lie(&mut self) {
        let mut bytes = self.whole.clone();
        for _ in 0..1 + self.random() % 6 {
            let (what, place, value) = (self.random(), self.random() as usize, self.random());
            let (start, len) = match what % 5 {
                0 => (1_024, 768),     // the section table
                1 => (4_096, 900),     // the control words
                2 => (65_536, 4_096),  // the families
                3 => (131_072, 8_192), // the series, unless there are more families than here
                _ => (48, 900),        // the rest of the header
            };
            let at = (start + place % len) & !7;
            let value = [value, value % 64, u64::MAX, 1 << (value % 64), value << 32][(what / 8 % 5) as usize];
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        self.replace(&bytes);
    }

    /// Puts a file in the region's place, by rename.
    fn replace(&self, bytes: &[u8]) {
        let beside = self.path.with_extension("beside");
        std::fs::write(&beside, bytes).expect("a file beside it");
        if std::fs::rename(&beside, &self.path).is_err() {
            self.clear();
            std::fs::rename(&beside, &self.path).expect("nothing stands in its place");
        }
    }

    /// Puts what is no file in its place.
    fn impersonate(&mut self) {
        self.clear();
        match self.random() % 6 {
            0 => std::os::unix::fs::symlink("/proc/self/mem", &self.path).expect("a link"),
            1 => std::os::unix::fs::symlink(&self.path, &self.path).expect("a link to itself"),
            2 => nix::unistd::mkfifo(&self.path, Mode::S_IRWXU).expect("a FIFO"),
            3 => std::fs::create_dir(&self.path).expect("a directory"),
            4 => {} // removed
            _ => std::fs::write(&self.path, &self.whole).expect("the region again"),
        }
    }
}

#[test]
fn the_server_outlives_files_that_are_cut_scribbled_over_and_replaced() {
    let seconds = std::env::var("TACHOGRAPH_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let folder = tmpfs::folder();
    let region = Region::builder("healthy").dir(folder.path()).build().expect("a region");
    let served = region.counter("app_served_total", "Requests served").expect("a counter");
    let whole = std::fs::read(region.path().expect("a file")).expect("the region's bytes");
    let mut victims: Vec<(Victim, Attack)> = vec![
        (Victim::new(folder.path(), "scribbled", &whole, 1), Victim::scribble),
        (Victim::new(folder.path(), "scribbled-2", &whole, 2), Victim::scribble),
        (Victim::new(folder.path(), "lying", &whole, 3), Victim::lie),
        (Victim::new(folder.path(), "impersonated", &whole, 4), Victim::impersonate),
    ];

    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(folder.path());
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Running::start(&mut command);
    eventually("the first scrape", Duration::from_secs(20), || get(port, "/metrics"));

    // Two that ask for OpenMetrics and for protobuf, and were never refused.
    let scrapers = ["", "native-histograms"].map(|features| Api::prometheus(port, features));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let attackers: Vec<_> = victims
            .iter_mut()
            .map(|(victim, attack)| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut attacks = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        attack(victim);
                        attacks += 1;
                    }
                    attacks
                })
            })
            .collect();
        let killer = scope.spawn(|| kill_writers(folder.path(), &stop));
        let start = Instant::now();
        let mut scrapes = 0_u64;
        let mut kept = Vec::new();
        let mut slowest = Duration::ZERO;
        let mut settled = None;
        while start.elapsed() < Duration::from_secs(seconds) {
            served.inc();
            let asked = Instant::now();
            let (format, accept) = FORMATS[scrapes as usize % FORMATS.len()];
            let reply = get_with(port, "/metrics", &[&format!("Accept: {accept}")]).expect("every scrape is answered");
            assert_eq!(reply.status, 200);
            check(format, reply.body, served.get(), scrapes, &mut kept);
            scrapes += 1;
            slowest = slowest.max(asked.elapsed());
            if settled.is_none() && start.elapsed() > Duration::from_secs(seconds / 2) {
                settled = Some(memory_and_descriptors(server.0.id()));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let attacks: Vec<u64> = attackers.into_iter().map(|attacker| attacker.join().expect("no panic")).collect();
        let killed = killer.join().expect("no panic");
        for (format, body, value) in &kept {
            let said = read(format, body).samples;
            let served = said
                .iter()
                .find(|(series, _)| series.starts_with("app_served_total{") && series.contains("\"healthy\""));
            assert_eq!(served.map(|(_, bits)| bits), Some(&bits(*value as f64)), "{format}");
        }
        let (memory, descriptors) = settled.expect("half time passed");
        let (memory_now, descriptors_now) = memory_and_descriptors(server.0.id());
        println!(
            "{scrapes} scrapes, the slowest {slowest:?}, {attacks:?} attacks, {killed} kills, {} bodies for the readers; memory {memory} KiB at half time, {memory_now} KiB at the end; \
             descriptors {descriptors}, {descriptors_now}",
            kept.len()
        );
        assert!(memory_now < memory + 16 * 1024, "memory grew from {memory} to {memory_now} KiB");
        assert!(descriptors_now <= descriptors + 8, "descriptors grew from {descriptors} to {descriptors_now}");
        assert!(killed > 2 && scrapes > 10, "only {killed} kills and {scrapes} scrapes");
        assert!(attacks.iter().all(|attacks| *attacks > 10), "{attacks:?} attacks");
    });
    assert_eq!(server.0.try_wait().expect("the server can be asked"), None, "the server lives");
    let value = served.get() as f64;
    for scraper in &scrapers {
        eventually("the last value in Prometheus", PATIENCE, || {
            (scraper.number("app_served_total{tacho_region=\"healthy\"}") == value).then_some(())
        });
        scraper.assert_healthy();
    }
    region.close();
}
