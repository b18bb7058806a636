//! Row `note`: a line of text left in the region's ring. The floor reads two clocks and stores the 256 bytes, without any
//! order between them. What is proved is how many notes were written.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tachograph::{NoteLevel, Region};

use crate::contest::{Contestant, Effort, Line, contest};

const TEXT: &str = "the store does not answer: 17 requests wait, the oldest for 3 s";

/// One thread.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    contest("note", "1t", effort, vec![ours(), floor()])
}

fn ours() -> Contestant {
    let region = Region::private("bench").expect("private memory");
    Contestant::new("tachograph", move |operations| {
        let before = region.notes_written();
        let start = Instant::now();
        for _ in 0..operations {
            region.note(NoteLevel::Warn, black_box(TEXT));
        }
        let took = start.elapsed();
        assert_eq!(region.notes_written() - before, operations, "notes are missing");
        took
    })
}

fn floor() -> Contestant {
    let ring: Vec<[AtomicU64; 32]> = (0..256).map(|_| [const { AtomicU64::new(0) }; 32]).collect();
    let mut next = 0_usize;
    Contestant::new("bare_record", move |operations| {
        let start = Instant::now();
        for _ in 0..operations {
            next += 1;
            let text = black_box(TEXT);
            let (slot, words) = (&ring[next % 256], text.as_bytes().chunks_exact(8));
            let now = std::time::SystemTime::now();
            let monotonic = Instant::now();
            black_box((now, monotonic));
            for (word, bytes) in slot.iter().zip(words.chain(std::iter::repeat(&[0; 8][..]))) {
                word.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
            }
        }
        start.elapsed()
    })
}
