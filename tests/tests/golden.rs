//! The golden region of each layout version: what was written once is read for ever, to the byte of its exposition.

use std::path::Path;

use tachograph_tests::process::tacho;

#[test]
fn layout_1_is_read() {
    is_read("golden", "layout-1");
}

/// Histograms of all forms, info, state set, watermarks of the smallest.
#[test]
fn the_other_kinds_of_layout_1_are_read() {
    is_read("golden-kinds", "layout-1-kinds");
}

fn is_read(region: &str, name: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let file = golden.join(format!("{name}.tacho"));
    let shown = tacho(&["show", file.to_str().expect("UTF-8 path"), "--format", "prom"]);
    assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
    let expected = std::fs::read_to_string(golden.join(format!("{name}.prom"))).expect("the expected exposition");
    // The first line is a comment for people: that this is a copy, and of when.
    let shown = String::from_utf8_lossy(&shown.stdout);
    let (first, rest) = shown.split_once('\n').expect("several lines");
    assert!(first.starts_with(&format!("# {region} is a copy")), "{first}");
    assert_eq!(rest, expected);
    let verified = tacho(&["verify", file.to_str().expect("UTF-8 path")]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
}
