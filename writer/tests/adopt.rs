//! Adopting: counters and histograms go on where the region before left them, exactly once, whatever else changed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytemuck::Zeroable;
use tachograph::{
    Buckets, Builder, Counter, Desc, ExponentialHistogram, Family, OnExisting, OpenFamily, OpenRules, Region,
};
use tachograph_layout::{FamilyRecord, Header, SectionKind, SectionTable, SeriesRecord, Words};
use tempfile::TempDir;

tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }
tachograph::label_value! { enum Wider: "outcome" { Late = "late", Ok = "ok", Failed = "failed" } }

fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn builder(dir: &Path) -> Builder {
    Region::builder("mc").dir(dir).lanes(16).on_existing(OnExisting::Adopt)
}

fn build(dir: &Path) -> Region {
    builder(dir).build().unwrap()
}

/// As a kill at this moment would leave the region: in a directory of its own, without its writer.
fn killed(region: &Region) -> TempDir {
    let dir = memory_dir();
    fs::write(dir.path().join("mc.tacho"), bytes_of_the_killed(region)).unwrap();
    dir
}

/// Of this moment, with the pid of nobody.
fn bytes_of_the_killed(region: &Region) -> Vec<u8> {
    let mut bytes = fs::read(region.path().unwrap()).unwrap();
    let pid = std::mem::offset_of!(Header, pid);
    bytes[pid..pid + 4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    bytes
}

fn header(path: &Path) -> Header {
    let mut header = Header::zeroed();
    File::open(path).unwrap().read_exact_at(bytemuck::bytes_of_mut(&mut header), 0).unwrap();
    header
}

fn sections(path: &Path) -> SectionTable {
    header(path).check(fs::metadata(path).unwrap().len()).unwrap()
}

fn archived(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("archive")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "tacho")).collect()
}

/// Writes words into a region file.
fn put(path: &Path, offset: u64, word: u64) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&word.to_le_bytes(), offset).unwrap();
}

/// When family and series of this index were registered.
fn created(path: &Path, index: u64) -> (u64, u64) {
    let mut family = FamilyRecord::zeroed();
    let mut series = SeriesRecord::zeroed();
    let (file, sections) = (File::open(path).unwrap(), sections(path));
    let at = |kind| sections.section(kind).entry(index).unwrap();
    file.read_exact_at(bytemuck::bytes_of_mut(&mut family), at(SectionKind::Families)).unwrap();
    file.read_exact_at(bytemuck::bytes_of_mut(&mut series), at(SectionKind::Series)).unwrap();
    (family.created_realtime_ns, series.created_realtime_ns)
}

#[test]
fn every_kind_that_counts_goes_on_and_every_level_begins_anew() {
    let dir = memory_dir();
    let region = build(dir.path());
    region.counter("app_a_total", "A").unwrap().add(7);
    region.counter("app_wrap_total", "Wraps").unwrap().add(u64::MAX);
    region.float_counter("app_busy_seconds_total", "Busy").unwrap().add(0.1);
    let requests: Family<Counter, Outcome> = region.family(Desc::new("app_requests_total", "Requests")).unwrap();
    requests.at(Outcome::Ok).add(3);
    requests.at(Outcome::Failed).add(5);
    let bounds = || Buckets::bounds([0.1, 1.0]);
    let histogram = region.histogram::<f64>("app_wait_seconds", "Wait", bounds()).unwrap();
    for value in [0.05, 0.3, 7.0, 0.1] {
        histogram.observe(value);
    }
    let infinite = region.histogram::<f64>("app_nan_seconds", "NaN", bounds()).unwrap();
    infinite.observe(f64::INFINITY);
    infinite.observe(f64::NEG_INFINITY);
    assert!(infinite.sum().is_nan());
    let durations =
        region.exponential_duration_histogram("app_took_seconds", "Took", Buckets::exponential(3, 1e-6..=10.0));
    let durations = durations.unwrap();
    durations.observe(Duration::from_nanos(1_234_567));
    let exponential = Buckets::exponential(3, 0.001..=1000.0);
    let sizes = region.exponential_histogram("app_size", "Size", exponential.clone()).unwrap();
    sizes.observe(17.0);
    region.gauge::<i64>("app_level", "Level").unwrap().set(9);
    region.updown_counter("app_active", "Active").unwrap().add(4);
    region.watermark_max::<i64>("app_peak", "Peak").unwrap().record(11);
    // Threads of their own have lanes of their own.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                requests.at(Outcome::Ok).inc();
                histogram.observe(0.2);
            });
        }
    });
    let (sum, buckets) = (histogram.sum(), histogram.buckets());
    let first = header(region.path().unwrap());
    let (family_created, series_created) = created(region.path().unwrap(), 0);
    region.close();

    // Another order, other capacities, another HELP, one value of the label more.
    let region = builder(dir.path()).series(5_000).cells(20_000).families(300).build().unwrap();
    let requests: Family<Counter, Wider> = region.family(Desc::new("app_requests_total", "By outcome")).unwrap();
    let histogram = region.histogram::<f64>("app_wait_seconds", "Wait", bounds()).unwrap();
    assert_eq!((histogram.sum(), histogram.buckets()), (sum, buckets));
    assert_eq!([Wider::Late, Wider::Ok, Wider::Failed].map(|it| requests.at(it).get()), [0, 7, 5]);
    let took = region.exponential_duration_histogram("app_took_seconds", "T", Buckets::exponential(3, 1e-6..=10.0));
    assert_eq!(took.unwrap().sum(), Duration::from_nanos(1_234_567));
    let sizes: ExponentialHistogram = region.exponential_histogram("app_size", "Size", exponential).unwrap();
    assert_eq!((sizes.count(), sizes.sum()), (1, 17.0));
    assert_eq!(region.float_counter("app_busy_seconds_total", "Busy").unwrap().get().to_bits(), 0.1_f64.to_bits());
    let infinite = region.histogram::<f64>("app_nan_seconds", "NaN", bounds()).unwrap();
    assert!(infinite.sum().is_nan() && infinite.count() == 2);
    let wraps = region.counter("app_wrap_total", "Wraps").unwrap();
    wraps.add(3);
    assert_eq!(wraps.get(), 2);
    assert_eq!(region.gauge::<i64>("app_level", "Level").unwrap().get(), 0);
    assert_eq!(region.updown_counter("app_active", "Active").unwrap().get(), 0);
    assert_eq!(region.watermark_max::<i64>("app_peak", "Peak").unwrap().get(), None);
    let a = region.counter("app_a_total", "A").unwrap();
    assert_eq!(a.get(), 7);
    // Registered again it is the same series, not seeded anew.
    a.inc();
    assert_eq!(region.counter("app_a_total", "A").unwrap().get(), 8);

    let path = region.path().unwrap();
    let second = header(path);
    assert_eq!(second.predecessor_uuid, first.uuid);
    assert_eq!((first.restarts, second.restarts), (0, 1));
    assert_eq!(second.lineage_created_realtime_ns, first.created_realtime_ns);
    assert!(second.created_realtime_ns > first.created_realtime_ns);
    // `app_requests_total` is the first here; the created times are the first region's, and the new value's its own.
    let (requests_created, late_created) = created(path, 0);
    assert!(requests_created >= family_created && requests_created < second.created_realtime_ns);
    assert!(late_created > second.created_realtime_ns && series_created < second.created_realtime_ns);
    assert!(created(path, 1).1 < second.created_realtime_ns, "a series that goes on is as old as it was");
    let adopted = region.adopted().unwrap();
    assert_eq!((adopted.predecessor, adopted.restarts, adopted.taken), (first.uuid, 1, 9));
    assert_eq!((adopted.waiting, adopted.unmatched, adopted.left), (0, 0, Vec::new()));
}

#[test]
fn totals_pass_through_regions_that_never_register_them_and_need_no_archive() {
    let dir = memory_dir();
    let region = build(dir.path());
    region.counter("app_x_total", "X").unwrap().add(100);
    let open: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("app_o_total", "O"), ["peer"], OpenRules::new(3)).unwrap();
    open.with(["a"]).add(10);
    open.with(["b"]).add(20);
    let (mut dir, mut restarts) = (killed(&region), 0);
    for life in 0..3 {
        // Killed before anything, after half of it, in order: it is the same.
        let region = build(dir.path());
        restarts += 1;
        if life == 1 {
            region.counter("app_y_total", "Y").unwrap().add(1);
            region
                .open_family::<Counter, 1>(Desc::new("app_o_total", "O"), ["peer"], OpenRules::new(3))
                .unwrap()
                .with(["a"])
                .inc();
        }
        fs::remove_dir_all(dir.path().join("archive")).unwrap();
        assert_eq!(header(region.path().unwrap()).restarts, restarts);
        dir = killed(&region);
    }
    let region = build(dir.path());
    assert_eq!(region.counter("app_x_total", "X").unwrap().get(), 100);
    assert_eq!(region.counter("app_y_total", "Y").unwrap().get(), 1);
    let open: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("app_o_total", "O"), ["peer"], OpenRules::new(3)).unwrap();
    assert_eq!(region.adopted().unwrap().waiting, 2);
    assert_eq!((open.with(["b"]).get(), open.with(["a"]).get()), (20, 11));
    assert_eq!(open.with(["c"]).get(), 0);
}

#[test]
fn an_open_family_goes_on_set_by_set_with_its_overflow_series() {
    let dir = memory_dir();
    let rules = OpenRules::new(2).linger(Duration::ZERO);
    let family = |region: &Region| -> OpenFamily<Counter, 1> {
        region.open_family(Desc::new("app_o_total", "O"), ["peer"], rules).unwrap()
    };
    let region = build(dir.path());
    let open = family(&region);
    let (a, b) = (open.with(["a\"\\\n"]), open.with(["b"]));
    a.add(1);
    b.add(2);
    assert!(open.with(["c"]).is_overflow());
    open.with(["c"]).add(3);
    drop(b); // retired: it keeps its value
    let dir = killed(&region);
    let region = build(dir.path());
    let open = family(&region);
    let (b, a) = (open.with(["b"]), open.with(["a\"\\\n"]));
    assert_eq!((a.get(), b.get(), open.with(["c"]).get()), (1, 2, 3));
    // `a` loses its slot to another set: taken again it begins anew, here and in the region after.
    a.add(100);
    drop(a);
    let c = open.with(["c"]);
    assert_eq!((c.is_overflow(), c.get()), (false, 0));
    drop(b);
    let again = open.with(["a\"\\\n"]);
    assert_eq!(again.get(), 0, "a total is taken once");
    drop(again);
    let d = open.with(["d"]);
    assert!(!d.is_overflow());
    drop((c, d));
    let dir = killed(&region);
    let region = build(dir.path());
    let open = family(&region);
    assert_eq!((open.with(["a\"\\\n"]).get(), open.with(["b"]).get()), (0, 0), "what lost its slot is gone");
}

/// A set whose slot went to another is not brought back by a restart, with the total of one restart before.
#[test]
fn a_total_that_was_taken_and_lost_does_not_come_back() {
    let dir = memory_dir();
    let rules = OpenRules::new(2).linger(Duration::ZERO);
    let family = |region: &Region| -> OpenFamily<Counter, 1> {
        region.open_family(Desc::new("app_o_total", "O"), ["peer"], rules).unwrap()
    };
    let region = build(dir.path());
    family(&region).with(["a"]).add(5);
    let dir = killed(&region);
    let region = build(dir.path());
    let open = family(&region);
    let b = open.with(["b"]);
    let a = open.with(["a"]);
    assert_eq!(a.get(), 5);
    drop(a);
    let c = open.with(["c"]);
    assert!(!c.is_overflow(), "it has the slot of `a`");
    let dir = killed(&region);
    drop((b, c));
    let region = build(dir.path());
    assert_eq!(family(&region).with(["a"]).get(), 0);
}

#[test]
fn only_what_is_the_same_goes_on_and_the_rest_is_told_and_kept() {
    let dir = memory_dir();
    let region = build(dir.path());
    region.counter("app_kind_total", "Number").unwrap().add(1);
    region.histogram::<f64>("app_bounds", "B", Buckets::bounds([1.0, 2.0])).unwrap().observe(1.5);
    region.exponential_histogram("app_schema", "S", Buckets::exponential(3, 0.1..=10.0)).unwrap().observe(1.5);
    region.family::<Counter, Outcome>(Desc::new("app_labels_total", "L")).unwrap().at(Outcome::Ok).add(4);
    region.counter("app_gone_total", "G").unwrap().add(5);
    region.histogram::<u64>("app_scale_seconds", "Scale", Buckets::bounds([1.0])).unwrap().observe(5);
    region.close();
    let region = build(dir.path());
    assert_eq!(region.float_counter("app_kind_total", "Number").unwrap().get(), 0.0);
    assert_eq!(region.histogram::<f64>("app_bounds", "B", Buckets::bounds([1.0, 3.0])).unwrap().count(), 0);
    let schema = region.exponential_histogram("app_schema", "S", Buckets::exponential(2, 0.1..=10.0)).unwrap();
    assert_eq!(schema.count(), 0);
    assert_eq!(region.counter("app_labels_total", "L").unwrap().get(), 0);
    assert_eq!(region.duration_histogram("app_scale_seconds", "S", Buckets::bounds([1.0])).unwrap().count(), 0);
    let adopted = region.adopted().unwrap();
    assert_eq!((adopted.taken, adopted.unmatched), (0, 7));
    let names =
        ["app_bounds", "app_gone_total", "app_kind_total", "app_labels_total", "app_scale_seconds", "app_schema"];
    assert_eq!(adopted.left, names);
    region.close();
    // The older build comes back: nothing of its own was lost.
    let region = build(dir.path());
    assert_eq!(region.counter("app_kind_total", "Number").unwrap().get(), 1);
    assert_eq!(region.counter("app_gone_total", "G").unwrap().get(), 5);
    assert_eq!(region.histogram::<f64>("app_bounds", "B", Buckets::bounds([1.0, 2.0])).unwrap().sum(), 1.5);
}

#[test]
fn what_can_not_be_continued_is_archived_and_the_region_begins_anew() {
    let other = memory_dir();
    let region = Region::builder("other").dir(other.path()).lanes(16).build().unwrap();
    region.counter("app_x_total", "X").unwrap().add(3);
    let whole = bytes_of_the_killed(&region);
    for bytes in [&b"no region"[..], &whole, &whole[..whole.len() - 8], &[]] {
        let dir = memory_dir();
        fs::write(dir.path().join("mc.tacho"), bytes).unwrap();
        let region = build(dir.path());
        assert!(region.adopted().is_none());
        assert_eq!(region.counter("app_x_total", "X").unwrap().get(), 0);
        let header = header(region.path().unwrap());
        assert_eq!((header.predecessor_uuid, header.restarts), ([0; 16], 0));
        assert_eq!(fs::read(&archived(dir.path())[0]).unwrap(), bytes, "the evidence is kept as it was");
    }
}

#[test]
fn the_predecessor_is_archived_under_its_name_once() {
    let dir = memory_dir();
    let region = build(dir.path());
    region.counter("app_x_total", "X").unwrap().add(3);
    let uuid = uuid::Uuid::from_bytes(region.uuid()).simple().to_string();
    region.close();
    // As a start leaves it that was cut off between the two steps.
    let one = build(dir.path());
    let file = archived(dir.path())[0].clone();
    assert!(file.to_str().unwrap().contains(&uuid));
    one.close();
    for on_existing in [OnExisting::Adopt, OnExisting::Archive] {
        let path = dir.path().join("mc.tacho");
        let dead = header(&path);
        let name = uuid::Uuid::from_bytes(dead.uuid).simple().to_string();
        let seconds = jiff::Timestamp::from_nanosecond(i128::from(dead.created_realtime_ns)).unwrap();
        let name = format!("mc.{}.{name}.tacho", seconds.strftime("%Y%m%dT%H%M%SZ"));
        fs::hard_link(&path, dir.path().join("archive").join(&name)).unwrap();
        builder(dir.path()).on_existing(on_existing).build().unwrap().close();
        let same = archived(dir.path()).into_iter().filter(|file| header(file).uuid == dead.uuid).count();
        assert_eq!(same, 1, "{on_existing:?}: the same evidence twice");
        let named = fs::metadata(dir.path().join("archive").join(&name)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&named), 1);
    }
}

#[test]
fn two_series_that_claim_the_same_are_both_left_and_their_neighbours_go_on() {
    let dir = memory_dir();
    let region = build(dir.path());
    for (index, name) in ["app_a_total", "app_b_total", "app_c_total", "app_d_total"].into_iter().enumerate() {
        region.counter(name, "Counts").unwrap().add(10 + index as u64);
    }
    let dir = killed(&region);
    let path = dir.path().join("mc.tacho");
    let series = sections(&path).section(SectionKind::Series);
    let cell = std::mem::offset_of!(SeriesRecord, cell) as u64;
    // b says that it has c's cell.
    put(&path, series.entry(1).unwrap() + cell, 16 + 2);
    let region = build(dir.path());
    let value = |name| region.counter(name, "Counts").unwrap().get();
    let values = ["app_a_total", "app_b_total", "app_c_total", "app_d_total"].map(value);
    assert_eq!(values, [10, 0, 0, 13]);
    const { assert!(SeriesRecord::WORDS == 8) }
}

#[test]
fn a_region_that_says_it_holds_more_than_its_file_is_not_read() {
    let dir = memory_dir();
    let region = build(dir.path());
    region.counter("app_a_total", "A").unwrap().add(1);
    let dir = killed(&region);
    let path = dir.path().join("mc.tacho");
    let lanes = sections(&path).section(SectionKind::Lanes);
    // A file of holes, 64 GiB long, with the header of a region of as many lanes as there can be.
    let mut found = header(&path);
    let len = lanes.offset + (1024 << 26);
    found.file_len = len;
    for entry in found.sections.iter_mut().filter(|entry| entry.kind == SectionKind::Lanes.to_wire()) {
        (entry.stride, entry.count) = (1 << 26, 1024);
    }
    put(&path, 0, 0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(bytemuck::bytes_of(&found), 0).unwrap();
    file.set_len(len).unwrap();
    file.write_all_at(&1024_u64.to_le_bytes(), tachograph_layout::Control::LANES_USED).unwrap();
    let cell = sections(&path).section(SectionKind::Series).entry(0).unwrap() + 16;
    file.write_all_at(&((1_u64 << 23) - 1).to_le_bytes(), cell).unwrap();
    let region = build(dir.path());
    assert!(region.adopted().is_none());
}

/// What was logged, as text.
#[derive(Debug, Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_was_left_is_told_in_one_line_once() {
    let dir = memory_dir();
    let region = build(dir.path());
    region.counter("app_kept_total", "Kept").unwrap().add(1);
    region.counter("app_renamed_total", "Renamed").unwrap().add(1);
    region.close();
    // A name that no writer gives: nothing of it may reach a terminal as it is.
    let path = dir.path().join("mc.tacho");
    let strings = sections(&path).section(SectionKind::Strings);
    let text = fs::read(&path).unwrap();
    let at = text.windows(17).position(|window| window == b"app_renamed_total").unwrap() as u64;
    assert!(at >= strings.offset);
    put(&path, at, u64::from_le_bytes(*b"\x1b[31mapp"));
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let region = build(dir.path());
        region.counter("app_kept_total", "Kept").unwrap();
        region.close();
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("were not continued")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("taken=1") && told[0].contains("left=1"), "{log}");
    assert!(told[0].contains("[31mappmed_total") && !log.contains('\x1b'), "{log:?}");
}

#[test]
fn a_living_owner_is_not_adopted() {
    let dir = memory_dir();
    let region = build(dir.path());
    let served = region.counter("app_served_total", "Served").unwrap();
    served.add(3);
    let error = builder(dir.path()).build().unwrap_err();
    assert!(matches!(error, tachograph::BuildError::Owned { .. }), "{error}");
    let private = builder(dir.path()).build_or_private();
    assert!(private.is_private() && private.adopted().is_none());
    assert_eq!(private.counter("app_served_total", "Served").unwrap().get(), 0);
    served.inc();
    region.close();
    let region = build(dir.path());
    assert_eq!(region.counter("app_served_total", "Served").unwrap().get(), 4);
}

/// A directory in which no archive can be made: the evidence stays beside, and the count goes on.
#[test]
fn an_archive_that_can_not_be_used_costs_no_count() {
    let dir = memory_dir();
    fs::write(dir.path().join("archive"), b"in the way").unwrap();
    for life in 0..3 {
        let region = build(dir.path());
        let served = region.counter("app_served_total", "Served").unwrap();
        assert_eq!(served.get(), life);
        served.inc();
        region.close();
    }
    let hidden = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(hidden.filter(|name| name.starts_with(".mc.") && name.ends_with(".tacho")).count(), 2);
}

#[test]
fn label_sets_that_found_no_slot_in_the_life_before_are_told() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let builder = Region::builder("mc").dir(dir.path()).on_existing(OnExisting::Adopt);
    let peers = |region: &Region, budget: u32| -> OpenFamily<Counter, 1> {
        region.open_family(Desc::new("app_peer_total", "Requests by peer"), ["peer"], OpenRules::new(budget)).unwrap()
    };
    let first = builder.clone().build().unwrap();
    let family = peers(&first, 4);
    let leases: Vec<_> = ["a", "b", "c", "d"].map(|peer| family.with([peer])).into();
    leases.iter().for_each(|lease| lease.inc());
    first.close();
    // A build with room for two, which nobody asks for any.
    let second = builder.clone().build().unwrap();
    peers(&second, 2);
    let adopted = second.adopted().unwrap();
    assert_eq!((adopted.waiting, adopted.dropped), (4, 0));
    second.close();
    let third = builder.build().unwrap();
    peers(&third, 4);
    let adopted = third.adopted().unwrap();
    assert!(adopted.dropped > 0 && adopted.waiting + adopted.dropped == 4, "{adopted:?}");
}
