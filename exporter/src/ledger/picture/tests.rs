//! Changes are read as they were written, whatever they are.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_changed_is_read_as_it_was_written(
        pairs in proptest::collection::vec((any::<u64>(), prop_oneof![Just(None), any::<u64>().prop_map(Some)]), 0..200),
        gap in 0_usize..3,
    ) {
        let before: Vec<u64> = pairs.iter().map(|(before, _)| *before).collect();
        let now: Vec<u64> = pairs.iter().map(|(before, now)| now.unwrap_or(*before)).collect();
        // What is written stands with gaps, what is read without.
        let half = before.len() / 2;
        let cells = [0..half, half + gap..before.len() + gap];
        let spread = |lane: &[u64]| [&lane[..half], &vec![77; gap], &lane[half..]].concat();
        let mut out = Vec::new();
        put_changes(&mut out, &cells, &spread(&before), &spread(&now));
        prop_assert_eq!(out.is_empty(), before == now);
        let mut lane = before;
        if !out.is_empty() {
            let mut cursor = Cursor::new(&out);
            change(&mut cursor, &[0..half, half..now.len()], &mut lane).unwrap();
            prop_assert_eq!(cursor.left(), 0);
        }
        prop_assert_eq!(lane, now);
    }

    #[test]
    fn no_bytes_change_what_is_not_there(bytes: Vec<u8>, cells in 0_usize..20) {
        let mut lane = vec![0; cells];
        let _ = change(&mut Cursor::new(&bytes), &[0..cells / 2, cells / 2..cells], &mut lane);
        let _ = picture(&mut Cursor::new(&bytes));
    }
}

#[test]
fn no_label_block_is_read_that_could_break_a_line() {
    use crate::ledger::folded::tests::{counter, picture as of};
    for (labels, sound) in
        [("", true), ("a=\"1\"", true), ("a=\"1\"} 1\nb", false), ("a=\"1\",a=\"2\"", false), ("a", false)]
    {
        let mut out = Vec::new();
        put_picture(&mut out, &of(&counter(), &[(labels, &[7])]));
        assert_eq!(picture(&mut Cursor::new(&out)).is_ok(), sound, "{labels:?}");
    }
}
