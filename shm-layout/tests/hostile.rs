//! Every count, offset and length of a file may be anything. These laws hold for random words: no check panics, and
//! what a check lets through is inside the file.

use proptest::collection::vec;
use proptest::prelude::*;
use tachograph_layout::*;

/// Words that hit edges far more often than uniform ones do.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..64u64,
        (0..64u32).prop_map(|bit| 1 << bit),
        (0..64u32).prop_map(|bit| (1_u64 << bit).wrapping_sub(1)),
        Just(u64::MAX),
        (0..1_024u64).prop_map(|units| units * SECTION_ALIGN),
    ]
}

fn half() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0..64u32, (0..32u32).prop_map(|bit| 1 << bit), Just(u32::MAX)]
}

/// A sound header of a default region.
fn header() -> (Header, u64) {
    let layout = Geometry::default().layout().expect("the default geometry is sound");
    let mut header: Header = bytemuck::Zeroable::zeroed();
    header.magic = Header::MAGIC;
    header.layout_major = LAYOUT_MAJOR;
    header.byte_order = Header::BYTE_ORDER;
    header.header_len = Header::LEN as u32;
    header.file_len = layout.file_len();
    let entries = layout.entries();
    header.section_count = entries.len() as u32;
    header.sections[..entries.len()].copy_from_slice(&entries);
    (header, layout.file_len())
}

/// What every accepted section table must hold.
fn table_is_sound(table: &SectionTable, file_len: u64) -> Result<(), TestCaseError> {
    let sections = SectionKind::ALL.map(|kind| table.section(kind));
    for (kind, section) in SectionKind::ALL.iter().zip(sections) {
        prop_assert_eq!(section.offset % SECTION_ALIGN, 0);
        let end = section.stride.checked_mul(section.count).and_then(|len| len.checked_add(section.offset));
        prop_assert!(end.is_some_and(|end| end <= file_len), "{:?} ends at {:?} of {}", kind, end, file_len);
        if let Some(stride) = kind.stride() {
            prop_assert_eq!(section.stride, stride);
        }
        prop_assert_eq!(section.entry(section.count), None);
        if let Some(last) = section.count.checked_sub(1) {
            prop_assert!(section.entry(last).is_some_and(|at| at + section.stride <= file_len));
        }
    }
    for (index, one) in sections.iter().enumerate() {
        for other in &sections[index + 1..] {
            let apart = one.offset + one.len() <= other.offset || other.offset + other.len() <= one.offset;
            prop_assert!(apart || one.is_empty() || other.is_empty(), "{one:?} and {other:?} overlap");
        }
    }
    prop_assert!((1..=MAX_LANES as u64).contains(&table.section(SectionKind::Lanes).count));
    prop_assert!(table.cells() <= LANE_DISTANCE as u64 / 8);
    Ok(())
}

#[test]
fn a_sound_header_is_accepted() {
    let (header, file_len) = header();
    assert!(header.check(file_len).is_ok());
}

proptest! {
    // Few: each takes 512 words, and nearly all are refused for their first one.
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn random_headers_never_panic(words in vec(word(), 512), file_len in word()) {
        let header = Header::from_words(&words).expect("512 words are a header");
        prop_assert!(header.check(file_len).is_err(), "random words have the magic");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_header_with_some_words_changed_is_refused_or_sound(changes in vec((0..512usize, word()), 0..6)) {
        let (header, file_len) = header();
        let mut words = header.as_words().to_vec();
        for (index, value) in changes {
            words[index] = value;
        }
        let header = Header::from_words(&words).expect("512 words are a header");
        if let Ok(table) = header.check(file_len) {
            table_is_sound(&table, file_len)?;
            // What prints must not panic either, whatever bytes the fields hold.
            let shown = [header.name(), header.host(), header.version(), header.exe(), header.build_id()];
            prop_assert!(shown.iter().all(|text| text.len() <= 3 * 256));
        }
    }

    #[test]
    fn a_changed_section_table_is_refused_or_sound(
        changes in vec((0..32usize, 0..4u8, word()), 1..8),
        count in prop_oneof![0..40u32, any::<u32>()],
        file_len in prop_oneof![Just(header().1), word()],
    ) {
        let mut entries = header().0.sections;
        for (index, field, value) in changes {
            let entry = &mut entries[index];
            match field {
                0 => entry.kind = value as u32,
                1 => entry.offset = value,
                2 => entry.stride = value,
                _ => entry.count = value,
            }
        }
        if let Ok(table) = SectionTable::check(&entries, count, file_len) {
            table_is_sound(&table, file_len)?;
        }
    }

    #[test]
    fn random_families_are_refused_or_inside(
        words in vec(word(), 32),
        kind in 0..11u32, number in 0..5u32, combine in 0..5u32, aggregation in 0..6u32,
        bounds_count in half(), series_slots in half(), first_series in half(),
        series in word(), bounds in word(), labels in word(),
    ) {
        let random = FamilyRecord::from_words(&words).expect("32 words are a family");
        let _ = random.check(series, bounds, labels);
        let family = FamilyRecord {
            state: SlotWord::new(0, SlotState::Live).bits(),
            kind, number, combine, aggregation, bounds_count, series_slots, first_series,
            ..random
        };
        // Half of the kinds would be refused for their cells alone: give them the right count.
        let cells = family.expected_cells().ok().and_then(|cells| u32::try_from(cells).ok());
        let family = FamilyRecord { cells_per_series: cells.unwrap_or(family.cells_per_series), ..family };
        if family.check(series, bounds, labels).is_ok() {
            prop_assert!(u64::from(first_series) + u64::from(series_slots) <= series);
            prop_assert!(family.bounds_index.checked_add(u64::from(bounds_count)).is_some_and(|end| end <= bounds));
            prop_assert!(family.meaning().is_ok());
            if family.is_open() {
                let areas = u128::from(series_slots) * u128::from(family.label_area_len);
                prop_assert!(u128::from(family.label_area_offset) + areas <= u128::from(labels));
            }
        }
    }

    #[test]
    fn random_series_are_refused_or_inside(
        words in vec(word(), 8), family_index in half(), cells in half(), plane in word(), right in any::<bool>(),
    ) {
        let mut series = SeriesRecord::from_words(&words).expect("8 words are a series");
        let family = FamilyRecord { cells_per_series: cells, ..FamilyRecord::default() };
        if right {
            series = SeriesRecord { family: family_index, cells, state: 2, ..series };
        }
        if series.check(family_index, &family, plane).is_ok() {
            prop_assert!(u128::from(series.cell) + u128::from(series.cells) <= u128::from(plane));
            prop_assert_eq!((series.family, series.cells), (family_index, cells));
        }
    }

    #[test]
    fn random_strings_are_refused_or_inside(offset in half(), len in half(), section in word()) {
        match (StrRef { offset, len }).check(section) {
            Ok(range) => {
                prop_assert_eq!((range.start, range.end - range.start), (u64::from(offset), u64::from(len)));
                prop_assert!(range.end <= section && len <= StrRef::MAX_LEN);
            }
            Err(_) => prop_assert!(len > StrRef::MAX_LEN || u64::from(offset) + u64::from(len) > section),
        }
    }

    #[test]
    fn only_whole_records_are_taken(words in vec(word(), 0..40)) {
        prop_assert_eq!(SeriesRecord::from_words(&words).is_some(), words.len() == SeriesRecord::WORDS);
        let family = FamilyRecord::from_words(&words);
        prop_assert_eq!(family.is_some(), words.len() == FamilyRecord::WORDS);
        prop_assert!(family.is_none_or(|family| family.as_words() == words));
    }

    #[test]
    fn slot_words_keep_what_they_are_given(bits in word(), generation in any::<u32>()) {
        prop_assert_eq!(SlotWord::from_bits(bits).bits(), bits);
        prop_assert_eq!(SlotWord::from_bits(bits).state().is_some(), bits & 0xffff_ffff <= 3);
        let word = SlotWord::new(generation, SlotState::Retired);
        prop_assert_eq!((word.generation(), word.is_readable()), (generation, true));
    }

    #[test]
    fn ordered_integers_keep_their_order(a in any::<i64>(), b in any::<i64>()) {
        // i64::MIN is stored as its neighbour, since its word means "nothing seen".
        let (a, b) = (a.max(i64::MIN + 1), b.max(i64::MIN + 1));
        let (x, y) = (Ordered::from_i64(a), Ordered::from_i64(b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x.bits().cmp(&y.bits()), a.cmp(&b));
        prop_assert_eq!(Ordered::from_bits(x.bits()).map(Ordered::to_i64), Some(a));
        prop_assert_eq!(x.reversed().reversed().to_i64(), a);
        if a != i64::MAX && b != i64::MAX {
            prop_assert_eq!(x.reversed().cmp(&y.reversed()), b.cmp(&a));
        }
    }

    #[test]
    fn ordered_numbers_keep_their_order(a in any::<f64>(), b in any::<f64>()) {
        prop_assume!(!a.is_nan() && !b.is_nan());
        let (x, y) = (Ordered::from_f64(a), Ordered::from_f64(b));
        if let Some(order) = a.partial_cmp(&b).filter(|order| order.is_ne()) {
            prop_assert_eq!(x.bits().cmp(&y.bits()), order);
            prop_assert_eq!(x.reversed().bits().cmp(&y.reversed().bits()), order.reverse());
        }
        prop_assert!(x.bits() != 0 && x.reversed().bits() != 0, "a number reads as nothing seen");
        prop_assert_eq!(Ordered::from_bits(x.bits()).map(|x| x.to_f64().to_bits()), Some(a.to_bits()));
        prop_assert_eq!(x.reversed().reversed().to_f64().to_bits(), a.to_bits());
    }

    #[test]
    fn any_geometry_makes_a_table_that_readers_accept(
        families in 1..=65_536u32, series in 1..=1u32 << 24, string_bytes in 1..1u32 << 30, label_bytes in 1..1u32 << 30,
        bounds in 1..=1u32 << 24, shared in 1..=1u32 << 24, cells in 1..=8_388_592u32, lanes in 1..=1_024u32,
        activities in 1..=1u32 << 20,
    ) {
        let geometry =
            Geometry { families, series, string_bytes, label_bytes, bounds, shared, cells, lanes, activities };
        let layout = geometry.layout().expect("every capacity is in its range");
        let entries = layout.entries();
        let table = SectionTable::check(&entries, entries.len() as u32, layout.file_len());
        let table = table.map_err(|error| TestCaseError::fail(error.to_string()))?;
        table_is_sound(&table, layout.file_len())?;
        for kind in SectionKind::ALL {
            prop_assert_eq!(layout.section(kind), table.section(kind));
        }
        prop_assert!(table.section(SectionKind::Families).count == u64::from(families));
        prop_assert!(table.section(SectionKind::Series).count == u64::from(series));
        prop_assert!(table.section(SectionKind::Strings).count >= u64::from(string_bytes));
        prop_assert!(table.section(SectionKind::LabelAreas).count >= u64::from(label_bytes));
        prop_assert!(table.cells() >= u64::from(cells) + LANE_HEADER_CELLS as u64);
        let lanes_end = table.section(SectionKind::Lanes).offset + table.section(SectionKind::Lanes).len();
        prop_assert_eq!(lanes_end, layout.file_len());
        prop_assert_eq!(layout.main_len(), table.section(SectionKind::Lanes).offset);
    }

    #[test]
    fn any_geometry_at_all_is_answered(words in vec(half(), 9)) {
        let geometry = Geometry {
            families: words[0], series: words[1], string_bytes: words[2], label_bytes: words[3], bounds: words[4],
            shared: words[5], cells: words[6], lanes: words[7], activities: words[8],
        };
        if let Err(error) = geometry.layout() {
            prop_assert!(error.value == 0 || error.value > error.max);
        }
    }

    #[test]
    fn exponential_buckets_cover_their_range(schema in -1..7i32, lower in any::<f64>(), upper in any::<f64>()) {
        if let Some((first, last)) = exponential_buckets(schema, lower, upper) {
            prop_assert!(first <= last && last - first < 16_384);
            let per_doubling = f64::from(1u32 << schema);
            let edge = |index: i32| (f64::from(index) / per_doubling).exp2();
            // Both ends within rounding: the buckets reach from below the range to above it.
            prop_assert!(edge(first - 1) <= lower * (1.0 + 1e-9));
            prop_assert!(edge(last) >= upper * (1.0 - 1e-9));
            prop_assert_eq!(exponential_cells(schema, lower, upper), u32::try_from(last - first + 4).ok());
        }
    }
}
