//! A block that was cut anywhere, or damaged anywhere, is good up to there: what a plain copy, a death in the middle of a write
//! and a bad disk leave behind.

use std::path::Path;

use tachograph::{Desc, OpenRules, Region};
use tachograph_exporter::recording::Recordings;

use super::{Place, blocks, until};

/// A block of a few dozen ticks, with label sets that come while it is written.
fn block(place: &Place) -> Vec<u8> {
    let region = Region::builder("app").dir(&place.regions).build().unwrap();
    let served = region.counter("app_served_total", "Served").unwrap();
    let peers = region
        .open_family::<tachograph::Counter, 1>(Desc::new("app_sent_total", "Sent"), ["peer"], OpenRules::new(50))
        .unwrap();
    let recorder = place.record();
    let stats = recorder.stats();
    for round in 0..8 {
        served.add(1000);
        peers.with([&format!("10.0.0.{round}")]).inc();
        let before = stats.counts().samples;
        until("a sample", || stats.counts().samples > before + 2);
    }
    drop(recorder);
    let fine = blocks(&place.recorder).into_iter().find(|path| path.to_string_lossy().contains(".50ms.")).unwrap();
    std::fs::read(fine).unwrap()
}

/// When each sample of a block was, and how many series it had.
fn samples(path: &Path) -> Vec<(u64, usize)> {
    let Ok(recordings) = Recordings::open(path) else { return Vec::new() };
    let [region] = recordings.regions() else { return Vec::new() };
    let mut window = region.window(0, u64::MAX);
    let mut seen = Vec::new();
    while let Some(sample) = window.next_sample() {
        seen.push((sample.realtime_ns, sample.snapshot.schema.series.len()));
    }
    seen
}

/// Where each frame of a block begins, with its kind; and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<(usize, u8)> {
    let (mut at, mut frames) = (8, Vec::new());
    while let Some(head) = bytes.get(at..at + 9) {
        frames.push((at, head[8] & 0x7f));
        at += 8 + u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
    }
    assert_eq!(at, bytes.len());
    frames.push((at, 0));
    frames
}

#[test]
fn a_block_cut_anywhere_holds_every_whole_tick() {
    let place = Place::new();
    let bytes = block(&place);
    let path = place.regions.join("cut.tachorec");
    std::fs::write(&path, &bytes).unwrap();
    let all = samples(&path);
    let frames = frames(&bytes);
    assert!(all.len() >= 20 && all.first().unwrap().1 < all.last().unwrap().1, "{all:?}");
    assert!(frames.iter().filter(|frame| frame.1 == 2).count() >= 3, "the structure changes inside: {frames:?}");
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let ends = frames.windows(2).filter(|pair| pair[0].1 == 3 && pair[1].0 <= cut).count();
        assert_eq!(samples(&path), all[..ends], "cut at {cut}");
    }
}

#[test]
fn a_damaged_byte_costs_what_follows_and_nothing_before() {
    let place = Place::new();
    let bytes = block(&place);
    let path = place.regions.join("damaged.tachorec");
    std::fs::write(&path, &bytes).unwrap();
    let all = samples(&path);
    let frames = frames(&bytes);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        std::fs::write(&path, &damaged).unwrap();
        let before = frames.windows(2).filter(|pair| pair[0].1 == 3 && pair[1].0 <= at).count();
        assert_eq!(samples(&path), all[..before], "damaged at {at}");
    }
}

/// A forger knows how to make a CRC: only the checks of what is inside stand in his way.
#[test]
fn forged_frames_neither_panic_nor_cost_much() {
    let place = Place::new();
    let bytes = block(&place);
    let path = place.regions.join("forged.tachorec");
    let frames = frames(&bytes);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    for _ in 0..3_000 {
        let mut forged = bytes.clone();
        let frame = next(frames.len() - 1);
        let (start, end) = (frames[frame].0, frames[frame + 1].0);
        for _ in 0..=next(4) {
            let at = start + 8 + next(end - start - 8);
            forged[at] = [0, 1, 0x7f, 0x80, 0xff, next(256) as u8][next(6)];
        }
        let crc = crc32fast::hash(&forged[start + 8..end]);
        forged[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(&path, &forged).unwrap();
        samples(&path);
    }
}
