//! The ledger over real regions: each counts once, whatever becomes of it, and over restarts of the exporter.

use std::path::Path;

use tachograph::{Buckets, Counter, OnExisting, Region};

use super::*;
use crate::Value;

/// An exporter's view of one directory, with a ledger in another.
pub(super) struct Exporter {
    directories: Directories,
    pub(super) ledger: Ledger,
}

impl Exporter {
    fn new(regions: &Path, book: &Path) -> Self {
        Self { directories: Directories::from_args(vec![regions.to_owned()]), ledger: Ledger::open(book) }
    }

    pub(super) fn scrape(&mut self) -> Arc<Snapshot> {
        self.look().expect("something is durable")
    }

    pub(super) fn look(&mut self) -> Option<Arc<Snapshot>> {
        self.observe(now).0
    }

    /// What is served where regions are as told, and what was said.
    pub(super) fn observe(&mut self, now: impl Fn(&RegionReader) -> Now) -> (Option<Arc<Snapshot>>, Vec<String>) {
        let regions = self.directories.scan().regions.into_iter();
        let in_place: Vec<InPlace> = regions.map(|reader| InPlace { now: now(&reader), reader }).collect();
        let mut clashes = Clashes::default();
        (self.ledger.observe(&self.directories, &in_place, &mut clashes), clashes.all().collect())
    }

    pub(super) fn total(&mut self, name: &str) -> u64 {
        total(&self.scrape(), name)
    }
}

/// A region as it is.
pub(super) fn now(reader: &RegionReader) -> Now {
    let alive = reader.verdict().unwrap().is_alive();
    if alive { Now::Lives(Some(Arc::new(reader.snapshot().unwrap()))) } else { Now::Dead }
}

/// The sum of a family's series.
pub(super) fn total(sum: &Snapshot, name: &str) -> u64 {
    let Some(family) = sum.schema.families.iter().find(|family| family.name == name) else { return 0 };
    let of = |series| match sum.value(series) {
        Value::U64(value) => value,
        Value::I64(value) => value.cast_unsigned(),
        Value::Histogram { buckets, .. } => buckets.iter().sum(),
        other => panic!("{name}: {other:?}"),
    };
    family.series.clone().map(of).sum()
}

pub(super) struct Folders {
    pub(super) regions: tempfile::TempDir,
    pub(super) book: tempfile::TempDir,
}

impl Folders {
    pub(super) fn new() -> Self {
        Self { regions: tempfile::tempdir().unwrap(), book: tempfile::tempdir().unwrap() }
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.book.path().join(FILE)
    }

    /// Where the n-th ledger that could not be read was put.
    pub(super) fn aside(&self, number: u32) -> PathBuf {
        let suffix = if number == 1 { String::new() } else { format!(".{number}") };
        self.book.path().join(format!("merge.ledger.unreadable{suffix}"))
    }

    pub(super) fn exporter(&self) -> Exporter {
        Exporter::new(self.regions.path(), self.book.path())
    }

    pub(super) fn region(&self, name: &str, on_existing: OnExisting) -> Region {
        let builder = Region::builder(name).dir(self.regions.path()).allow_disk_backed(true).lanes(4).series(32);
        builder.on_existing(on_existing).keep_archived(2).build().unwrap()
    }
}

pub(super) fn served(region: &Region) -> Counter {
    region.counter("app_served_total", "Requests served").unwrap()
}

pub(super) const NAME: &str = "app_served_total";

#[test]
fn living_and_dead_add_up_and_levels_die_with_their_region() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let (a, b) = (folders.region("a", OnExisting::Archive), folders.region("b", OnExisting::Archive));
    for (region, count) in [(&a, 5), (&b, 3)] {
        served(region).add(count);
        region.gauge("app_level", "A level").unwrap().set(count as i64);
        let wait = region.histogram("app_wait_seconds", "Time", Buckets::bounds([0.1, 1.0])).unwrap();
        (0..count).for_each(|_| wait.observe(0.5));
    }
    let all = |exporter: &mut Exporter| [NAME, "app_wait_seconds", "app_level"].map(|name| exporter.total(name));
    assert_eq!(all(&mut exporter), [8, 8, 8]);
    a.close();
    assert_eq!(all(&mut exporter), [8, 8, 3]);
    // Archived and replaced: folded, once, for this exporter and the next.
    let again = folders.region("a", OnExisting::Archive);
    served(&again).add(10);
    for _ in 0..3 {
        assert_eq!(all(&mut exporter), [18, 8, 3]);
    }
    assert_eq!(exporter.ledger.condition().folded, 1);
    assert_eq!(all(&mut folders.exporter()), [18, 8, 3]);
    // Its evidence may go, too.
    std::fs::remove_dir_all(folders.regions.path().join("archive")).unwrap();
    assert_eq!(all(&mut exporter), [18, 8, 3]);
    assert_eq!(all(&mut folders.exporter()), [18, 8, 3]);
    drop((b, again));
}

#[test]
fn what_lived_and_died_unseen_is_found_in_the_archive() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    assert_eq!(exporter.total(NAME), 0);
    for count in [5, 3] {
        let region = folders.region("a", OnExisting::Archive);
        served(&region).add(count);
        region.close();
    }
    let living = folders.region("a", OnExisting::Archive);
    served(&living).add(1);
    assert_eq!(exporter.total(NAME), 9);
    assert_eq!(exporter.total(NAME), 9);
    assert_eq!(folders.exporter().total(NAME), 9);
}

#[test]
fn an_adopter_counts_for_all_before_it_registered_or_not() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let mut counted = 0;
    for life in 1..6 {
        let region = folders.region("a", OnExisting::Adopt);
        assert_eq!(exporter.total(NAME), counted, "life {life}: nothing is registered yet");
        if life != 3 {
            served(&region).add(life);
            counted += life;
        }
        assert_eq!(exporter.total(NAME), counted, "life {life}");
        if life == 4 {
            // An exporter that was away meanwhile.
            exporter = folders.exporter();
        }
        region.close();
        if life % 2 == 0 {
            assert_eq!(exporter.total(NAME), counted, "life {life}, closed");
        }
    }
    assert_eq!(folders.exporter().total(NAME), counted);
    assert_eq!(exporter.ledger.condition().folded, 0, "the last one carries all");
}

#[test]
fn what_was_shown_stays_where_the_evidence_goes_while_no_exporter_looks() {
    let folders = Folders::new();
    let region = folders.region("a", OnExisting::Archive);
    served(&region).add(7);
    assert_eq!(folders.exporter().total(NAME), 7);
    region.close();
    std::fs::remove_file(folders.regions.path().join("a.tacho")).unwrap();
    assert_eq!(folders.exporter().total(NAME), 7);
}

#[test]
fn while_the_file_can_not_be_made_anew_there_is_room_for_a_while_and_then_the_last_durable_total_is_served() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let region = folders.region("a", OnExisting::Archive);
    served(&region).add(7);
    assert_eq!(exporter.total(NAME), 7);
    // A directory in the temporary file's place: as little can be written as on a full disk.
    let blocked = folders.book.path().join("merge.ledger.tmp");
    std::fs::create_dir(&blocked).unwrap();
    let mut shown = 7;
    while exporter.ledger.condition().durable {
        served(&region).inc();
        shown = exporter.total(NAME);
        assert!(shown < 1_000, "the room is bounded");
    }
    assert!(shown > 100, "there was room for changes: {shown}");
    assert_eq!(served(&region).get(), shown + 1, "the last one was not shown");
    assert_eq!(exporter.total(NAME), shown);
    // The next exporter can't write either: it shows what was durable, and not nothing.
    assert_eq!(folders.exporter().total(NAME), shown);
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(exporter.total(NAME), shown + 1);
    assert!(exporter.ledger.condition().durable);
}

#[test]
fn a_ledger_that_is_removed_under_its_exporter_is_made_anew() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let region = folders.region("a", OnExisting::Archive);
    served(&region).add(7);
    assert_eq!(exporter.total(NAME), 7);
    std::fs::remove_file(folders.book.path().join(FILE)).unwrap();
    served(&region).inc();
    assert_eq!(exporter.total(NAME), 8);
    region.close();
    std::fs::remove_file(folders.regions.path().join("a.tacho")).unwrap();
    assert_eq!(folders.exporter().total(NAME), 8);
}

fn both(a: &Path, b: &Path, book: &Path) -> Exporter {
    Exporter { directories: Directories::from_args(vec![a.to_owned(), b.to_owned()]), ledger: Ledger::open(book) }
}

#[test]
fn a_copied_file_counts_nothing_whether_its_region_lives_or_not() {
    use crate::exposition::{Exposition, Format};
    use crate::serve::Scraper;
    let (folders, other) = (Folders::new(), tempfile::tempdir().unwrap());
    let scraper = || {
        let directories = [folders.regions.path(), other.path()].map(Path::to_owned);
        let scraper = Scraper::new(Directories::from_args(directories.to_vec()), crate::plan::Options::default());
        scraper.unwrap().merging(folders.book.path()).unwrap()
    };
    let shows = |scraper: &Scraper| -> u64 {
        let body = String::from_utf8(scraper.metrics(&Exposition::new(Format::Text)).unwrap()).unwrap();
        let line = body.lines().find_map(|line| line.strip_prefix("app_served_total "));
        line.unwrap().parse().unwrap()
    };
    let region = folders.region("a", OnExisting::Archive);
    let copy = || std::fs::copy(folders.regions.path().join("a.tacho"), other.path().join("a.tacho")).unwrap();
    let first = scraper();
    for (more, count) in [(3, 3), (4, 7)] {
        // One that is older, too.
        served(&region).add(more);
        assert_eq!((shows(&first), shows(&first), shows(&scraper())), (count, count, count));
        copy();
    }
    assert_eq!((shows(&first), shows(&scraper())), (7, 7));
    region.close();
    copy();
    assert_eq!((shows(&first), shows(&scraper())), (7, 7));
    std::fs::remove_file(folders.regions.path().join("a.tacho")).unwrap();
    assert_eq!((shows(&first), shows(&scraper())), (7, 7));
}

#[test]
fn two_directories_with_a_region_of_one_name_are_two_regions() {
    let (a, b) = (Folders::new(), Folders::new());
    let mut exporter = both(a.regions.path(), b.regions.path(), a.book.path());
    let (one, two) = (a.region("mc", OnExisting::Archive), b.region("mc", OnExisting::Adopt));
    served(&one).add(5);
    served(&two).add(30);
    assert_eq!(exporter.total(NAME), 35);
    // It is put aside while the other one of its name lives, as by a start that will adopt it: not folded.
    two.close();
    let (file, archive) = (b.regions.path().join("mc.tacho"), b.regions.path().join("archive"));
    std::fs::create_dir(&archive).unwrap();
    let put = archive.join("mc.1.2.tacho");
    std::fs::rename(&file, &put).unwrap();
    assert_eq!(exporter.total(NAME), 35);
    assert_eq!(exporter.ledger.condition().folded, 0);
    std::fs::rename(&put, &file).unwrap();
    let heir = b.region("mc", OnExisting::Adopt);
    served(&heir).add(100);
    assert_eq!(exporter.total(NAME), 135);
    // And where its own place is taken, it is.
    one.close();
    let next = a.region("mc", OnExisting::Archive);
    served(&next).add(1_000);
    assert_eq!(exporter.total(NAME), 1_135);
    assert_eq!(exporter.ledger.condition().folded, 1);
}

#[test]
fn between_scrapes_what_comes_and_dies_is_noted_and_nothing_is_read_that_goes_on_living() {
    let folders = Folders::new();
    let mut exporter = folders.exporter();
    let note = |exporter: &mut Exporter| {
        let regions = exporter.directories.scan().regions.into_iter();
        let now =
            |reader: &RegionReader| if reader.verdict().unwrap().is_alive() { Now::Lives(None) } else { Now::Dead };
        let in_place: Vec<InPlace> = regions.map(|reader| InPlace { now: now(&reader), reader }).collect();
        exporter.ledger.note(&exporter.directories, &in_place);
    };
    let region = folders.region("a", OnExisting::Archive);
    served(&region).add(7);
    note(&mut exporter);
    let bytes = std::fs::read(folders.ledger()).unwrap();
    served(&region).add(1);
    note(&mut exporter);
    assert!(std::fs::read(folders.ledger()).unwrap() == bytes, "it lives, and nobody asked");
    region.close();
    note(&mut exporter);
    std::fs::remove_file(folders.regions.path().join("a.tacho")).unwrap();
    assert_eq!(folders.exporter().total(NAME), 8, "its end was noted");
}

#[test]
fn the_region_label_is_dropped_whatever_it_is_called_and_no_region_can_be_asked_for() {
    use crate::exposition::{Exposition, Format};
    use crate::plan::Options;
    use crate::serve::{ScrapeError, Scraper};
    let folders = Folders::new();
    let regions = [folders.region("a", OnExisting::Archive), folders.region("b", OnExisting::Archive)];
    regions.iter().for_each(|region| served(region).add(4));
    for region_label in ["", "worker", "tacho_region"] {
        let directories = Directories::from_args(vec![folders.regions.path().to_owned()]);
        let scraper = Scraper::new(directories, Options { region_label: region_label.to_owned() }).unwrap();
        let scraper = scraper.merging(folders.book.path()).unwrap();
        let mut exposition = Exposition::new(Format::Text);
        let body = String::from_utf8(scraper.metrics(&exposition).unwrap()).unwrap();
        assert!(body.contains("\napp_served_total 8\n"), "{region_label}");
        assert_eq!(body.matches("\napp_served_total").count(), 1, "{region_label}");
        exposition.selection.regions.insert("a".to_owned());
        assert!(matches!(scraper.metrics(&exposition), Err(ScrapeError::AddedUp { names }) if names == "\"a\""));
    }
}
