//! The values of a tick as differences from the tick before: what did not change costs next to nothing.
//!
//! Called by `block.rs`'s two ends with vectors of one length. Integers are coded as wrapping differences, floats by the
//! bits that changed, so both come back exactly. Runs of words that stayed the same are one number.

use super::wire::{Cursor, Malformed, put, put_signed};

/// Appends what turns `before` into `now`. Both have the length of `floats`, which says of each word whether it holds the
/// bits of an f64.
pub(crate) fn encode(out: &mut Vec<u8>, before: &[u64], now: &[u64], floats: &[bool]) {
    let changed = |index: usize| before.get(index) != now.get(index);
    let mut index = 0;
    let mut said = 0;
    while index < now.len() {
        if !changed(index) {
            index += 1;
            continue;
        }
        let run = (index..now.len()).take_while(|index| changed(*index)).count();
        // Where the run begins, and whether it is longer than one word; then by how much.
        put(out, ((index - said) as u64) << 1 | u64::from(run > 1));
        if run > 1 {
            put(out, run as u64 - 2);
        }
        for index in index..index + run {
            let (Some(before), Some(now), Some(float)) = (before.get(index), now.get(index), floats.get(index)) else {
                break;
            };
            if *float {
                // The sign, the exponent and the first digits change most: they come first.
                put(out, (before ^ now).swap_bytes());
            } else {
                put_signed(out, now.wrapping_sub(*before).cast_signed());
            }
        }
        index += run;
        said = index;
    }
}

/// Turns the words before into the words now, from all bytes that are left.
pub(crate) fn decode(cursor: &mut Cursor<'_>, words: &mut [u64], floats: &[bool]) -> Result<(), Malformed> {
    let mut index = 0_usize;
    while cursor.left() > 0 {
        let head = cursor.number()?;
        let skip = usize::try_from(head >> 1).map_err(|_| Malformed("a run outside the words"))?;
        let run = if head & 1 == 1 { cursor.small::<usize>()?.saturating_add(2) } else { 1 };
        index = index.saturating_add(skip);
        let end = index.saturating_add(run);
        let (Some(run), Some(floats)) = (words.get_mut(index..end), floats.get(index..end)) else {
            return Err(Malformed("a run outside the words"));
        };
        for (word, float) in run.iter_mut().zip(floats) {
            *word = if *float {
                *word ^ cursor.number()?.swap_bytes()
            } else {
                word.wrapping_add(cursor.signed()?.cast_unsigned())
            };
        }
        index = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(before: &[u64], now: &[u64], floats: &[bool]) -> usize {
        let mut out = Vec::new();
        encode(&mut out, before, now, floats);
        let mut words = before.to_vec();
        decode(&mut Cursor::new(&out), &mut words, floats).unwrap();
        assert_eq!(words, now);
        out.len()
    }

    proptest! {
        #[test]
        fn words_come_back(pairs: Vec<(u64, u64, bool, bool)>) {
            let before: Vec<u64> = pairs.iter().map(|pair| pair.0).collect();
            let now: Vec<u64> = pairs.iter().map(|pair| if pair.3 { pair.0 } else { pair.1 }).collect();
            let floats: Vec<bool> = pairs.iter().map(|pair| pair.2).collect();
            round(&before, &now, &floats);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, mut words: Vec<u64>) {
            let floats = vec![false; words.len()];
            let _ = decode(&mut Cursor::new(&bytes), &mut words, &floats);
        }
    }

    #[test]
    fn what_stays_costs_nothing_and_a_step_two_bytes() {
        let idle = vec![u64::MAX; 2000];
        assert_eq!(round(&idle, &idle, &vec![false; 2000]), 0);
        let mut stepped = idle.clone();
        stepped[40] = 3;
        assert_eq!(round(&idle, &stepped, &vec![false; 2000]), 2);
        // A float that moves between small integers.
        let floats = [1.0_f64.to_bits(), 1.0_f64.to_bits()];
        assert!(round(&floats, &[floats[0], 3.0_f64.to_bits()], &[true, true]) <= 4);
    }
}
