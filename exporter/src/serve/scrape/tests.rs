//! Regions in a scrape and between two, told apart and added up.

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

/// Where series stand by the names of regions there is room for one of each name; where they are added up there is for all.
#[test]
fn of_two_regions_of_one_name_one_is_left_out_only_where_they_are_told_apart() {
    let [one, other, book] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let regions = [one.path(), other.path()].map(region);
    regions.iter().for_each(|region| serve(region, 4));
    let both = [one.path(), other.path()];
    let added_up = body(&adding_up(&both, book.path()));
    assert!(added_up.contains("\napp_served_total 8\n"), "{added_up}");
    // What is counted here is what the log warns of.
    assert!(added_up.contains("\ntacho_region_problems 0\n"), "{added_up}");
    let directories = Directories::from_args(both.map(Path::to_owned).to_vec());
    let apart = body(&Scraper::new(directories, Options::default()).expect("a scraper"));
    assert!(apart.contains("\napp_served_total{tacho_region=\"a\"} 4\n"), "{apart}");
    assert!(apart.contains("\ntacho_region_problems 1\n"), "{apart}");
}
