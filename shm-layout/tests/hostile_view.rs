//! A view of mapped memory answers any offset and length, whatever a file says: it neither panics nor allocates for more
//! than is there. In a binary of its own, since an allocation that fails takes the whole process with it.

use proptest::prelude::*;
use tachograph_layout::ReaderMap;

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..80u64,
        (0..64u32).prop_map(|bit| 1 << bit),
        (0..64u32).prop_map(|bit| (1_u64 << bit).wrapping_sub(1)),
        Just(u64::MAX),
    ]
}

proptest! {
    #[test]
    fn a_view_answers_any_offset(offset in word(), len in word(), count in 0..20usize, lanes in 0..11u64) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        std::io::Write::write_all(&mut file, &[7; 64]).expect("64 bytes");
        let map = ReaderMap::new(&file, 64).expect("a map");
        let view = map.view();
        prop_assert_eq!(view.load(offset).is_some(), offset < 64 && offset % 8 == 0);
        let inside = offset.checked_add(len).is_some_and(|end| end <= 64);
        match view.bytes(offset, len) {
            Some(bytes) => prop_assert!(inside && bytes.len() as u64 == len && bytes.iter().all(|byte| *byte == 7)),
            None => prop_assert!(!inside),
        }
        let mut out = vec![0; count];
        let fits = offset % 8 == 0 && offset.checked_add(count as u64 * 8).is_some_and(|end| end <= 64);
        prop_assert_eq!(view.copy(offset, &mut out).is_some(), fits);
        // Any number of lanes, some of them outside: each that fits is added once.
        let offsets: Vec<u64> = (0..lanes).map(|lane| offset.wrapping_add(lane * 8)).collect();
        let (mut sums, mut expected) = (vec![1; count], vec![1_u64; count]);
        view.add_into(offsets.iter().copied(), &mut sums);
        for offset in offsets {
            let mut words = vec![0; count];
            if view.copy(offset, &mut words).is_some() {
                expected.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
            }
        }
        prop_assert_eq!(sums, expected);
    }
}
