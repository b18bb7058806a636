//! Regions that are added up, as the server sees them between its scrapes and in them.

use std::path::Path;

use tachograph::Region;

use super::*;
use crate::exposition::Format;

fn region(directory: &Path) -> Region {
    let builder = Region::builder("a").dir(directory).allow_disk_backed(true).lanes(4).series(32);
    builder.build().expect("a region")
}

fn serve(region: &Region, count: u64) {
    region.counter("app_served_total", "Requests served").expect("room").add(count);
}

/// What adds up the regions of these directories, with its ledger in another.
fn adding_up(directories: &[&Path], book: &Path) -> Scraper {
    let directories = directories.iter().map(|path| (*path).to_owned()).collect();
    let scraper = Scraper::new(Directories::from_args(directories), Options::default()).expect("a scraper");
    scraper.merging(book).expect("its ledger")
}

fn body(scraper: &Scraper) -> String {
    String::from_utf8(scraper.metrics(&Exposition::new(Format::Text)).expect("a body")).expect("text")
}

/// Its region is counted where it lives, or was.
#[test]
fn a_copy_is_added_up_neither_in_a_scrape_nor_between_two() {
    let [elsewhere, regions, book] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let copied = region(elsewhere.path());
    serve(&copied, 7);
    let reader = RegionReader::open(copied.path().expect("a file")).expect("readable");
    let target = std::fs::File::create_new(regions.path().join("a.tacho")).expect("room");
    reader.copy_to(&target, 0).expect("a copy");
    let scraper = adding_up(&[regions.path()], book.path());
    scraper.look_between();
    let shown = body(&scraper);
    assert!(!shown.contains("app_served_total"), "{shown}");
    assert!(shown.contains("\ntacho_merge_ledger_durable 1\n") && shown.contains("state=\"copy\""), "{shown}");
}
