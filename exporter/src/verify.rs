//! Checks every structure of a region and says what is wrong, and where.
//!
//! Called by [`crate::RegionReader::verify`]. A healthy region, living or dead, gives no finding: what a writer may
//! leave half done between two of its instructions is not held against it, unless a snapshot would show it.

use std::fmt::Display;

use serde::Serialize;
use tachograph_layout::{
    ActivityRecord, Control, CrashSlots, FamilyRecord, FatalRecord, Header, LAYOUT_MINOR, NoteRecord, PanicRecord,
    PulseRecord, RegionState, Section, SectionKind, SlotState, SlotWord, StrRef, WordView, Words,
};

use crate::Verdict;
use crate::parse::{self, Parsed};
use crate::region_file::RegionFile;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is odd; all values are still shown.
    Warning,
    /// Something is left out, or can't be trusted.
    Error,
}

/// One thing that is wrong with a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: `header`, `control word lanes_used`, `series 17 of app_x_total`, ...
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// How bad it is.
    pub severity: Severity,
}

impl Finding {
    pub(crate) fn error(place: impl Into<String>, what: impl Display) -> Self {
        Self { place: place.into(), what: what.to_string(), severity: Severity::Error }
    }

    fn warning(place: impl Into<String>, what: impl Display) -> Self {
        Self { place: place.into(), what: what.to_string(), severity: Severity::Warning }
    }
}

/// Findings of one kind of structure: the first [`Listed::MOST`], and how many more there are. So that a file can't make
/// a list that is larger than itself.
#[derive(Debug, Default)]
struct Listed {
    list: Vec<Finding>,
    more: u64,
}

impl Listed {
    /// Most findings of one kind of structure that are listed.
    const MOST: usize = 1_000;

    fn error(&mut self, place: impl Display, what: impl Display) {
        self.push(|| Finding::error(place.to_string(), what));
    }

    fn push(&mut self, finding: impl FnOnce() -> Finding) {
        if self.list.len() < Self::MOST {
            self.list.push(finding());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(|| finding));
    }

    /// All of them, with one more that counts those that are not listed.
    fn into_findings(mut self, place: &str) -> Vec<Finding> {
        if self.more > 0 {
            self.list.push(Finding::error(place, format_args!("{} more findings", self.more)));
        }
        self.list
    }
}

/// All findings of a region whose file is as long as when it was mapped.
pub(crate) fn verify(file: &RegionFile, verdict: Verdict) -> Vec<Finding> {
    let check = Check { file, view: file.map.view(), verdict };
    let parsed = parse::parse(check.view, &file.sections, None);
    let mut findings = check.header();
    findings.extend(check.control());
    findings.extend(parsed.schema.damaged.iter().map(|damage| Finding::error(damage.place.clone(), &damage.what)));
    if parsed.schema.damaged_more > 0 {
        let what = format_args!("{} more are damaged", parsed.schema.damaged_more);
        findings.push(Finding::error("families and series", what));
    }
    findings.extend(check.cells(&parsed).into_findings("cells"));
    findings.extend(check.free_families(&parsed).into_findings("families"));
    findings.extend(check.free_series(&parsed).into_findings("series"));
    findings.extend(check.notes().into_findings("notes"));
    findings.extend(check.crash_slots().into_findings("crash slots"));
    findings.extend(check.activities().into_findings("activities"));
    findings.extend(check.pulses().into_findings("pulses"));
    findings
}

struct Check<'a> {
    file: &'a RegionFile,
    view: WordView<'a>,
    verdict: Verdict,
}

impl Check<'_> {
    fn section(&self, kind: SectionKind) -> Section {
        self.file.sections.section(kind)
    }

    fn word(&self, offset: u64) -> u64 {
        self.view.load(offset).unwrap_or(0)
    }

    fn header(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let header = &self.file.header;
        if self.view.record::<Header>(0).as_ref() != Some(header) {
            findings.push(Finding::error("header", "changed since the file was opened"));
        }
        if u64::from(header.header_len) != Header::LEN {
            let what = format_args!("says {} bytes of itself where it has {}", header.header_len, Header::LEN);
            findings.push(Finding::warning("header", what));
        }
        if header.uuid == [0; 16] {
            findings.push(Finding::error("header", "its uuid is zero"));
        }
        for (field, bytes, len) in [
            ("host", &header.host[..], header.host_len),
            ("version", &header.version[..], header.version_len),
            ("exe", &header.exe[..], header.exe_len),
        ] {
            findings.extend(text_finding("header", field, bytes, u64::from(len)));
        }
        let reserved = header.reserved_a | u64::from(header.reserved_b);
        let reserved = header.reserved_c.iter().fold(reserved, |all, word| all | u64::from(*word));
        let reserved = header.reserved_d.iter().chain(&header.reserved_e).fold(reserved, |all, word| all | word);
        if reserved != 0 && header.layout_minor == LAYOUT_MINOR {
            findings.push(Finding::warning("header", "reserved bytes are not zero"));
        }
        findings
    }

    fn control(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let place = |name: &str| format!("control word {name}");
        // `series_used` and `families_used` are the parser's to check.
        for (name, offset, capacity) in [
            ("strings_used", Control::STRINGS_USED, self.section(SectionKind::Strings).count),
            ("cells_used", Control::CELLS_USED, self.file.sections.cells()),
            ("shared_used", Control::SHARED_USED, self.section(SectionKind::Shared).count),
            ("bounds_used", Control::BOUNDS_USED, self.section(SectionKind::Bounds).count),
            ("label_areas_used", Control::LABEL_AREAS_USED, self.section(SectionKind::LabelAreas).count),
            ("activities_used", Control::ACTIVITIES_USED, self.section(SectionKind::Activities).count),
            ("pulses_used", Control::PULSES_USED, self.section(SectionKind::Pulses).count),
            ("lanes_used", Control::LANES_USED, self.section(SectionKind::Lanes).count),
        ] {
            let found = self.word(offset);
            if found > capacity {
                findings.push(Finding::error(place(name), format_args!("{found} of {capacity}")));
            }
        }
        if self.word(Control::LANES_USED) == 0 {
            findings.push(Finding::error(place("lanes_used"), "0 where lane 0 is always in use"));
        }
        let state = self.word(Control::STATE);
        match RegionState::from_wire(state) {
            None => {
                findings.push(Finding::error(place("state"), format_args!("{state} is not a state of this layout")))
            }
            Some(RegionState::Building) => {
                findings.push(Finding::error(place("state"), "still being built, where the file has its name"));
            }
            Some(RegionState::Closed) if !self.word(Control::STRUCTURE).is_multiple_of(2) => {
                findings
                    .push(Finding::warning(place("structure"), "odd in a region that was closed in an orderly way"));
            }
            Some(_) => {}
        }
        if self.word(Control::UNLINKED) > 1 {
            findings.push(Finding::warning(place("unlinked"), "neither 0 nor 1"));
        }
        findings
    }

    /// No two series may own one cell, and none one beyond what is in use.
    fn cells(&self, parsed: &Parsed) -> Listed {
        let mut findings = Listed::default();
        let (mut lanes, mut shared) = (Vec::new(), Vec::new());
        for series in parsed.schema.series.iter() {
            let Some(family) = parsed.schema.families.get(series.family) else { continue };
            let plane = if family.kind.in_shared_plane() { &mut shared } else { &mut lanes };
            if series.cells > 0 {
                plane.push((series.cell, series.cell + u64::from(series.cells), series.slot, family.name.as_str()));
            }
        }
        // Loaded after the series, before each of which its writer stored them.
        let used = [self.word(Control::CELLS_USED), self.word(Control::SHARED_USED)];
        for (what, used, mut plane) in [("cells", used[0], lanes), ("shared lines", used[1], shared)] {
            plane.sort_unstable();
            let mut last = (0, 0);
            for (start, end, slot, family) in plane {
                let place = || format!("series {slot} of {family}");
                if start < last.0 {
                    let what = format_args!("its {what} from {start} on are also those of series {}", last.1);
                    findings.error(place(), what);
                }
                if end > used {
                    let what = format_args!("its {what} end at {end}, where {used} are in use");
                    findings.error(place(), what);
                }
                last = last.max((end, slot));
            }
        }
        findings
    }

    /// Families past the high-water mark: free, or one that was being registered, since its mark follows right after.
    fn free_families(&self, parsed: &Parsed) -> Listed {
        let section = self.section(SectionKind::Families);
        let excused = |slot, mark| slot <= mark;
        self.free_slots(section, parsed.used.families, Control::FAMILIES_USED, "family", excused)
    }

    /// Slots past the high-water mark: free, or of the family that was being registered.
    fn free_series(&self, parsed: &Parsed) -> Listed {
        let excused = |slot, mark| {
            let registering = |family: FamilyRecord| {
                let first = u64::from(family.first_series);
                (first..first + u64::from(family.series_slots)).contains(&slot)
            };
            // Asked again at the end: its family may have been completed, and another begun, in between.
            slot < mark || self.newest_family().is_some_and(registering) || slot < self.word(Control::SERIES_USED)
        };
        let section = self.section(SectionKind::Series);
        self.free_slots(section, parsed.used.series, Control::SERIES_USED, "series", excused)
    }

    /// The family that was published last, of which a writer that is not closed may not have marked all series yet.
    fn newest_family(&self) -> Option<FamilyRecord> {
        if self.verdict == Verdict::Closed {
            return None;
        }
        let section = self.section(SectionKind::Families);
        let used = self.word(Control::FAMILIES_USED).min(section.count);
        self.view.record(section.entry(used.checked_sub(1)?)?)
    }

    /// Slots from `from` on that are published, unless excused by the mark as it is by then: a living writer goes on.
    fn free_slots(
        &self,
        section: Section,
        from: u64,
        mark: u64,
        what: &str,
        excused: impl Fn(u64, u64) -> bool,
    ) -> Listed {
        let mut findings = Listed::default();
        for slot in from..section.count {
            let word = section.entry(slot).and_then(|entry| self.view.load_acquire(entry));
            let word = SlotWord::from_bits(word.unwrap_or(0));
            let mark = self.word(mark);
            if matches!(word.state(), Some(SlotState::Free | SlotState::Building)) || excused(slot, mark) {
                continue;
            }
            let found = word.state().map_or_else(|| format!("word {:#x}", word.bits()), |state| format!("{state:?}"));
            findings.error(format_args!("{what} {slot}"), format_args!("{found}, past the high-water mark {mark}"));
        }
        findings
    }

    fn notes(&self) -> Listed {
        let section = self.section(SectionKind::Notes);
        let mut findings = Listed::default();
        for slot in 0..section.count.min(1 << 16) {
            let Some(note) = self.committed::<NoteRecord>(section, slot) else { continue };
            let place = format!("note {slot}");
            if (note.sequence - 1) % section.count != slot {
                findings.error(&place, format_args!("number {} stands in the wrong slot", note.sequence));
            }
            if !(1..=5).contains(&note.level) {
                findings.push(|| Finding::warning(&place, format_args!("level {} is none of 1 to 5", note.level)));
            }
            findings.extend(text_finding(&place, "text", &note.text, u64::from(note.len)));
        }
        findings
    }

    fn crash_slots(&self) -> Listed {
        let section = self.section(SectionKind::Crash);
        let mut findings = Listed::default();
        if let Some(fatal) = self.committed::<FatalRecord>(section, CrashSlots::FATAL) {
            if fatal.sequence != 1 || fatal.claim == 0 || !(1..=64).contains(&fatal.signal) {
                let what = format_args!("sequence {}, claim {}, signal {}", fatal.sequence, fatal.claim, fatal.signal);
                findings.error("fatal slot", what);
            }
            findings.extend(frames_finding("fatal slot", fatal.frame_count, fatal.frames.len()));
        }
        for slot in CrashSlots::FIRST_PANIC..CrashSlots::COUNT {
            let Some(panic) = self.committed::<PanicRecord>(section, slot) else { continue };
            let place = format!("panic slot {slot}");
            let ring = slot.checked_sub(CrashSlots::PANIC_RING);
            let expected = ring.is_none_or(|ring| (panic.sequence - 1) % CrashSlots::PANIC_RING_LEN == ring);
            if !expected {
                findings.error(&place, format_args!("number {} stands in the wrong slot", panic.sequence));
            }
            findings.extend(text_finding(&place, "message", &panic.message, u64::from(panic.message_len)));
            findings.extend(text_finding(&place, "place", &panic.place, u64::from(panic.place_len)));
            findings.extend(frames_finding(&place, panic.frame_count, panic.frames.len()));
        }
        findings
    }

    fn activities(&self) -> Listed {
        let section = self.section(SectionKind::Activities);
        let strings = self.section(SectionKind::Strings).count;
        let mut findings = Listed::default();
        for slot in 0..section.count.min(1 << 20) {
            let place = format!("activity {slot}");
            let read = |record: &ActivityRecord| SlotWord::from_bits(record.state);
            let Some(record) = self.slot::<ActivityRecord>(section, slot, read, &place, &mut findings) else {
                continue;
            };
            findings.extend(text_finding(&place, "type", &record.actor_type, u64::from(record.type_len)));
            findings.extend(text_finding(&place, "id", &record.actor_id, u64::from(record.id_len)));
            let doing = StrRef { offset: record.doing as u32, len: (record.doing >> 32) as u32 };
            findings.extend(doing.check(strings).err().map(|error| Finding::error(&place, error)));
        }
        findings
    }

    fn pulses(&self) -> Listed {
        let section = self.section(SectionKind::Pulses);
        let mut findings = Listed::default();
        for slot in 0..section.count.min(1 << 16) {
            let place = format!("pulse {slot}");
            let read = |record: &PulseRecord| SlotWord::from_bits(record.state);
            let Some(record) = self.slot::<PulseRecord>(section, slot, read, &place, &mut findings) else { continue };
            findings.extend(text_finding(&place, "name", &record.name, record.name_len));
        }
        findings
    }

    /// A readable record whose state was the same before and after it was copied; an unknown state is a finding.
    fn slot<T: Words>(
        &self,
        section: Section,
        slot: u64,
        state: impl Fn(&T) -> SlotWord,
        place: &str,
        findings: &mut Listed,
    ) -> Option<T> {
        let (first, second): (T, T) = self.twice(section, slot)?;
        if state(&first).state().is_none() {
            findings.error(place, format_args!("state word {:#x} is unknown", state(&first).bits()));
        }
        (state(&first).is_readable() && state(&first) == state(&second)).then_some(first)
    }

    /// A record of a ring whose sequence is not 0 and was the same before and after it was copied.
    fn committed<T: Words>(&self, section: Section, slot: u64) -> Option<T> {
        self.view.stamped(section.entry(slot)?).map(|(_, record)| record)
    }

    /// Copies a record twice: where a word that guards it is the same in both, the first copy is whole.
    fn twice<T: Words>(&self, section: Section, slot: u64) -> Option<(T, T)> {
        let entry = section.entry(slot)?;
        let first = self.view.record(entry)?;
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        Some((first, self.view.record(entry)?))
    }
}

/// A length beyond its field, or bytes that are no UTF-8.
fn text_finding(place: &str, field: &str, bytes: &[u8], len: u64) -> Option<Finding> {
    match usize::try_from(len).ok().and_then(|len| bytes.get(..len)) {
        None => Some(Finding::error(place, format_args!("{field} of {len} bytes where {} fit", bytes.len()))),
        Some(text) if std::str::from_utf8(text).is_err() => {
            Some(Finding::error(place, format_args!("{field} is no UTF-8")))
        }
        Some(_) => None,
    }
}

fn frames_finding(place: &str, count: u64, most: usize) -> Option<Finding> {
    (count > most as u64).then(|| Finding::error(place, format_args!("{count} frames where {most} fit")))
}
