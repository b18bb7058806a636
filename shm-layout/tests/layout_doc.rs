//! Holds `docs/LAYOUT.md` to the code: every record, control word, section kind, number and constant stands in the page
//! as the code has it, and the page names none that the code lacks. Whoever changes the one must change the other.

use std::collections::BTreeMap;

use tachograph_layout::*;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/LAYOUT.md"));

/// The cells of every table row under the heading, up to the next heading; without the head and its rule.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let wanted = format!("### {heading}");
    let section: Vec<&str> = PAGE.lines().skip_while(|line| *line != wanted).skip(1).collect();
    assert!(!section.is_empty(), "LAYOUT.md has no heading `{wanted}`");
    section.iter().take_while(|line| !line.starts_with('#')).filter_map(|line| row(line)).skip(2).collect()
}

/// The cells of one table row, without backticks.
fn row(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ").or_else(|| line.strip_prefix('|'))?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect())
}

/// Checks a record's table: offset, size and name of each field, in order, and nothing else.
fn record(heading: &str, start: usize, end: usize, fields: &[(&str, usize)]) {
    let found: Vec<(String, usize, usize)> = rows(heading)
        .into_iter()
        .map(|row| {
            let number =
                |index: usize| row[index].parse().unwrap_or_else(|_| panic!("{heading}: no number in {row:?}"));
            (row[2].clone(), number(0), number(1))
        })
        .collect();
    let ends = fields.iter().skip(1).map(|(_, offset)| *offset).chain([end]);
    let expected: Vec<(String, usize, usize)> =
        fields.iter().zip(ends).map(|(&(name, offset), end)| (name.to_owned(), offset, end - offset)).collect();
    assert_eq!(found, expected, "the table of {heading} in LAYOUT.md (left) is not the code's (right)");
    assert_eq!(fields[0].1, start);
}

/// Checks a table of numbers and names: all that the code knows below 64, and nothing else.
fn numbers(heading: &str, name_of: impl Fn(u64) -> Option<String>) {
    let found: BTreeMap<u64, String> =
        rows(heading).into_iter().map(|row| (row[0].parse().expect("a number"), row[1].clone())).collect();
    let expected: BTreeMap<u64, String> = (0..64).filter_map(|value| Some((value, name_of(value)?))).collect();
    assert_eq!(found, expected, "the table of {heading} in LAYOUT.md (left) is not the code's (right)");
}

#[test]
fn every_record_stands_in_the_page() {
    record("Header", 0, size_of::<Header>(), Header::FIELDS);
    record("SectionEntry", 0, size_of::<SectionEntry>(), SectionEntry::FIELDS);
    record("FamilyRecord", 0, size_of::<FamilyRecord>(), FamilyRecord::FIELDS);
    record("SeriesRecord", 0, size_of::<SeriesRecord>(), SeriesRecord::FIELDS);
    record("ActivityRecord", 0, size_of::<ActivityRecord>(), ActivityRecord::FIELDS);
    record("PulseRecord", 0, size_of::<PulseRecord>(), PulseRecord::FIELDS);
    record("NoteRecord", 0, size_of::<NoteRecord>(), NoteRecord::FIELDS);
    record("FatalRecord", 0, size_of::<FatalRecord>(), FatalRecord::FIELDS);
    record("CarriedFamily", 0, size_of::<CarriedFamily>(), CarriedFamily::FIELDS);
    record("CarriedSeries", 0, size_of::<CarriedSeries>(), CarriedSeries::FIELDS);
    record("PanicRecord", 0, size_of::<PanicRecord>(), PanicRecord::FIELDS);
    let str_ref = [("offset", std::mem::offset_of!(StrRef, offset)), ("len", std::mem::offset_of!(StrRef, len))];
    record("StrRef", 0, size_of::<StrRef>(), &str_ref);
}

#[test]
fn every_control_word_stands_in_the_page() {
    let found: Vec<(String, String, String)> =
        rows("Control").into_iter().map(|row| (row[2].clone(), row[0].clone(), row[1].clone())).collect();
    let expected: Vec<(String, String, String)> =
        Control::FIELDS.iter().map(|(name, offset)| ((*name).to_owned(), offset.to_string(), "8".to_owned())).collect();
    assert_eq!(found, expected, "the control words of LAYOUT.md (left) are not the code's (right)");
}

#[test]
fn every_section_kind_stands_in_the_page() {
    let found: Vec<Vec<String>> = rows("SectionKind").into_iter().map(|row| row[..3].to_vec()).collect();
    let expected: Vec<Vec<String>> = SectionKind::ALL
        .iter()
        .map(|kind| {
            let stride = kind.stride().map_or_else(|| "any".to_owned(), |stride| stride.to_string());
            vec![kind.to_wire().to_string(), kind.as_str().to_owned(), stride]
        })
        .collect();
    assert_eq!(found, expected, "the section kinds of LAYOUT.md (left) are not the code's (right)");
}

#[test]
fn every_number_stands_in_the_page() {
    numbers("Kind", |value| Kind::from_wire(value as u32).map(|it| format!("{it:?}")));
    numbers("Number", |value| Number::from_wire(value as u32).map(|it| format!("{it:?}")));
    numbers("Combine", |value| Combine::from_wire(value as u32).map(|it| format!("{it:?}")));
    numbers("Aggregation", |value| Aggregation::from_wire(value as u32).map(|it| format!("{it:?}")));
    numbers("RegionState", |value| RegionState::from_wire(value).map(|it| format!("{it:?}")));
    numbers("SlotState", |value| SlotWord::from_bits(value).state().map(|it| format!("{it:?}")));
    numbers("MemoryLock", |value| {
        let known = [MemoryLock::Held, MemoryLock::Refused];
        known.into_iter().find(|it| u64::from(it.to_wire()) == value).map(|it| format!("{it:?}"))
    });
}

#[test]
fn every_constant_stands_in_the_page() {
    let constants = [
        ("HEADER_LEN", Header::LEN),
        ("BYTE_ORDER", Header::BYTE_ORDER),
        ("LAYOUT_MAJOR", u64::from(LAYOUT_MAJOR)),
        ("LAYOUT_MINOR", u64::from(LAYOUT_MINOR)),
        ("SECTION_ALIGN", SECTION_ALIGN),
        ("MAX_SECTIONS", u64::from(SectionTable::MAX)),
        ("MAX_LANES", MAX_LANES as u64),
        ("MAX_LANE_BYTES", LANE_DISTANCE as u64),
        ("LANE_HEADER_CELLS", LANE_HEADER_CELLS as u64),
        ("MAX_STRING", u64::from(StrRef::MAX_LEN)),
        ("CRASH_STRIDE", CrashSlots::STRIDE),
        ("CRASH_SLOTS", CrashSlots::COUNT),
    ];
    let found: Vec<(String, String)> = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| constant |"))
        .skip(2)
        .map_while(row)
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let expected: Vec<(String, String)> =
        constants.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    assert_eq!(found, expected, "the constants of LAYOUT.md (left) are not the code's (right)");
    let magic: Vec<String> = Header::MAGIC.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(PAGE.contains(&format!("bytes `{}`", magic.join(" "))), "the magic of LAYOUT.md is not the code's");
}

/// The cells of a kind, as the table of section 10 has them: the record's own rule must agree.
#[test]
fn cells_by_kind_are_the_codes() {
    let expected = |kind: Kind, number: Number| {
        let family = FamilyRecord {
            kind: kind.to_wire(),
            number: number.to_wire(),
            combine: kind.combine().to_wire(),
            aggregation: Aggregation::Sum.to_wire(),
            bounds_count: 7,
            schema: 0,
            range_lower: 1f64.to_bits(),
            range_upper: 8f64.to_bits(),
            ..FamilyRecord::default()
        };
        family.expected_cells().expect("a sound family")
    };
    let mut seen = 0;
    for line in PAGE.lines().skip_while(|line| !line.starts_with("| kind | numbers |")).skip(2) {
        let Some(row) = row(line) else { break };
        let kind = (0..64).filter_map(Kind::from_wire).find(|kind| format!("{kind:?}") == row[0]).expect("a kind");
        let number = (0..64).filter_map(Number::from_wire).find(|it| row[1].starts_with(&format!("{it:?}")));
        let cells = match row[3].as_str() {
            "bounds + 2" => 9,
            "buckets + 3" => 3 + 3,
            fixed => fixed.split(':').next().and_then(|cells| cells.parse().ok()).expect("a number of cells"),
        };
        assert_eq!(expected(kind, number.expect("a number")), cells, "cells of {}", row[0]);
        assert_eq!(kind.in_shared_plane(), row[2] == "shared", "plane of {}", row[0]);
        seen += 1;
    }
    assert_eq!(seen, (0..64).filter_map(Kind::from_wire).count(), "kinds in the table of section 10");
}
