//! Copies a region, living or dead, into a file: the evidence as it stands now, without stopping its writer.
//!
//! Called through [`RegionReader::copy_to`]. A plain `cp` of a living region may mix the labels of one series with the
//! values of another, and show up-down counters below what their history allows; this reads in the order that
//! `docs/LAYOUT.md` section 11 asks of every reader, and leaves out what changed hands meanwhile. The copy is a region
//! file of its own. Memory is bounded by a chunk, whatever the file's length; nothing is written but the target.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use tachograph_layout::{Control, Section, SectionKind, SectionTable, SlotState, SlotWord, WordView, downs_then_ups};

use crate::region_file::RegionFile;
use crate::values::{self, ReadPlan};
use crate::{ReadError, RegionReader};

/// Why a region was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The region can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The target can't be written.
    #[error("the copy can't be written")]
    Write(#[source] io::Error),
}

/// Bytes copied at a time; sections start at multiples of it, so a chunk is of one section.
const CHUNK: u64 = tachograph_layout::SECTION_ALIGN;
const WORD: u64 = size_of::<u64>() as u64;

impl RegionReader {
    /// Copies the region into `target` from byte `base` on: exactly as many bytes as the region's file has. The target
    /// must be open for reading, too, since what is found to have changed hands is taken out again. After an error it
    /// holds bytes of no use.
    ///
    /// # Errors
    /// [`CopyError`] where the region was cut under the copy, or the target can't be written.
    ///
    /// ```
    /// use tachograph_exporter::{RegionReader, Verdict};
    /// let directory = tempfile::Builder::new().tempdir_in("/dev/shm")?;
    /// let region = tachograph::Region::builder("mc-0").dir(directory.path()).build()?;
    /// region.counter("mc_served_total", "Requests served")?.add(7);
    ///
    /// let path = directory.path().join("copy");
    /// let target = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    /// RegionReader::open(region.path().unwrap())?.copy_to(&target, 0)?;
    /// assert_eq!(RegionReader::open(&path)?.verdict()?, Verdict::Copy);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_to(&self, target: &File, base: u64) -> Result<(), CopyError> {
        let verdict = self.verdict()?;
        let file = self.file();
        let copy = Copy { view: file.map.view(), sections: file.sections, target, base };
        let copied = copy.view.read_structure(verdict.is_alive(), |word| {
            copy.structure(file, word)?;
            // What was registered since is parsed too, and does no harm: its cells are in the lanes.
            copy.values(&self.read_plan(verdict, word))?;
            copy.take_out_what_changed_hands()
        });
        self.check_whole()?;
        copied.unwrap_or(Ok(())).map_err(CopyError::Write)
    }
}

/// One copy under way.
#[derive(Clone, Copy)]
struct Copy<'a> {
    view: WordView<'a>,
    sections: SectionTable,
    target: &'a File,
    base: u64,
}

/// Sections whose entries are published by one of their words: where that word stands in an entry, and whether an entry
/// may be given to something else, so that it has to be looked at again once it was copied.
const RECORDS: [(SectionKind, u64, bool); 6] = [
    // Before the families, so that each series finds its own.
    (SectionKind::Series, 0, false),
    (SectionKind::Families, 0, false),
    (SectionKind::Activities, 0, true),
    (SectionKind::Pulses, 64, true),
    (SectionKind::Notes, 0, true),
    (SectionKind::Crash, 0, true),
];

impl Copy<'_> {
    /// Header, control block and records, in the order in which they were published; then everything else but the lanes.
    fn structure(&self, file: &RegionFile, structure: u64) -> io::Result<()> {
        let marks = self.view.high_water();
        let mut first = self.chunk(0)?;
        // As it was when it was checked: the header never changes.
        let header: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&file.header));
        first.iter_mut().zip(header).for_each(|(word, header)| *word = *header);
        if let Some(marks) = marks {
            set(&mut first, Control::SERIES_USED, marks.series);
            set(&mut first, Control::FAMILIES_USED, marks.families);
        }
        // Nothing in a copy is being given away.
        set(&mut first, Control::STRUCTURE, structure.next_multiple_of(2));
        self.write(0, &first)?;
        for (kind, published, changes) in RECORDS {
            self.records(self.sections.section(kind), published, changes)?;
        }
        let records = RECORDS.map(|(kind, ..)| self.sections.section(kind));
        let lanes = self.sections.section(SectionKind::Lanes);
        let known = |at: u64| records.iter().chain([&lanes]).any(|one| at >= one.offset && at < one.offset + one.len());
        for at in (CHUNK..self.view.len()).step_by(CHUNK as usize).filter(|at| !known(*at)) {
            self.write(at, &self.chunk(at)?)?;
        }
        Ok(())
    }

    /// The entries of a section, each published word before the rest of its entry. Of one that changed while it was
    /// copied the word becomes 0, which is "free" or "being written" to every reader.
    fn records(&self, section: Section, published: u64, changes: bool) -> io::Result<()> {
        let entries = (CHUNK / section.stride.max(WORD)).max(1);
        let mut words = vec![0; (entries * section.stride / WORD) as usize];
        let mut start = 0;
        while start < section.count {
            let here = entries.min(section.count - start);
            let words = words.get_mut(..(here * section.stride / WORD) as usize).unwrap_or_default();
            let at = section.offset + start * section.stride;
            for (index, entry) in (0..).zip(words.chunks_exact_mut((section.stride / WORD).max(1) as usize)) {
                let place = at + index * section.stride;
                // What the word publishes is copied after it.
                let word = self.view.load_acquire(place + published).unwrap_or(0);
                let _ = self.view.copy(place, entry);
                // Everything copied so far is loaded before the word is looked at again.
                fence(Ordering::Acquire);
                let stands = !changes || self.view.load(place + published) == Some(word);
                set(entry, published, if stands { word } else { 0 });
            }
            self.write(at, words)?;
            start += here;
        }
        // Up to the next section: a hole would make the copy a sparse file, which readers of tmpfs refuse.
        let end = section.offset + section.len();
        let rest = end.next_multiple_of(CHUNK).min(self.view.len()).saturating_sub(end);
        self.write(end, &vec![0; (rest / WORD) as usize])
    }

    /// The lanes, downs before ups.
    fn values(&self, plan: &ReadPlan) -> io::Result<()> {
        let lanes = self.sections.section(SectionKind::Lanes);
        let all = || -> io::Result<()> {
            (lanes.offset..lanes.offset + lanes.len())
                .step_by(CHUNK as usize)
                .try_for_each(|at| self.write(at, &self.chunk(at)?))
        };
        let (copied, again) = downs_then_ups::<AtomicU64, _, _>(all, || self.ups(lanes, plan));
        copied.and(again)
    }

    /// The ups of up-down counters once more, over what was copied of them together with the downs.
    fn ups(&self, lanes: Section, plan: &ReadPlan) -> io::Result<()> {
        // A lane that was claimed meanwhile counts, too.
        let used = values::lanes_used(self.view, &self.sections);
        self.write(Control::LANES_USED, &[used])?;
        for lane in (0..used).filter_map(|lane| lanes.entry(lane)) {
            for cells in plan.downs().chunk_by(|a, b| a * WORD / CHUNK == b * WORD / CHUNK) {
                let Some(at) = cells.first().map(|down| lane + down * WORD / CHUNK * CHUNK) else { continue };
                let mut words = self.written(at)?;
                for up in cells.iter().filter_map(|down| down.checked_sub(1)) {
                    // The pair may lie across two chunks.
                    let place = lane + up * WORD;
                    let value = self.view.load(place).unwrap_or(0);
                    if place >= at { set(&mut words, place - at, value) } else { self.write(place, &[value])? }
                }
                self.write(at, &words)?;
            }
        }
        Ok(())
    }

    /// Frees, in the copy, every slot that was given to another series since it was copied.
    fn take_out_what_changed_hands(&self) -> io::Result<()> {
        let series = self.sections.section(SectionKind::Series);
        for at in (series.offset..series.offset + series.len()).step_by(CHUNK as usize) {
            let mut words = self.written(at)?;
            let mut changed = false;
            let left = (series.offset + series.len() - at).min(CHUNK);
            for place in (0..left).step_by(series.stride.max(WORD) as usize) {
                let found = SlotWord::from_bits(words.get((place / WORD) as usize).copied().unwrap_or(0));
                if found.is_readable() && !self.view.slot_stands(at + place, found) {
                    set(&mut words, place, SlotWord::new(found.generation(), SlotState::Free).bits());
                    changed = true;
                }
            }
            if changed {
                self.write(at, &words)?;
            }
        }
        Ok(())
    }

    /// Words of the region from a byte offset on: a chunk, or what is left.
    fn chunk(&self, at: u64) -> io::Result<Vec<u64>> {
        let mut words = self.buffer(at);
        self.view.copy(at, &mut words).map(|()| words).ok_or_else(|| io::Error::other("a section outside the file"))
    }

    /// The same of the target, as it was written.
    fn written(&self, at: u64) -> io::Result<Vec<u64>> {
        let mut words = self.buffer(at);
        self.target.read_exact_at(bytemuck::cast_slice_mut(&mut words), self.base + at).map(|()| words)
    }

    fn buffer(&self, at: u64) -> Vec<u64> {
        vec![0; (self.view.len().saturating_sub(at).min(CHUNK) / WORD) as usize]
    }

    fn write(&self, at: u64, words: &[u64]) -> io::Result<()> {
        self.target.write_all_at(bytemuck::cast_slice(words), self.base + at)
    }
}

fn set(words: &mut [u64], offset: u64, value: u64) {
    if let Some(word) = words.get_mut((offset / WORD) as usize) {
        *word = value;
    }
}
