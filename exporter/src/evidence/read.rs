//! Reads the evidence out of a region. Called by `reader.rs` alone.
//!
//! Every byte is foreign: each record is copied once and the copy is checked; lengths are capped by their fields, work and
//! memory by the sections. A record that is half written or makes no sense is left out and counted, and never fails the
//! rest. Writes nothing.

use tachograph_layout::{
    ActivityRecord, Control, CrashHooks, CrashSlots, FatalRecord, Header, NoteRecord, PanicRecord, PulseRecord,
    RegionState, Section, SectionKind, SectionTable, SlotState, SlotWord, StrRef, WordView, Words, ring_slot,
};

use crate::table;

use super::{
    Activities, Activity, ActivityState, Actor, Culprit, Evidence, Fatal, Frame, Level, Moment, Note, Notes, Panic,
    Panics, Pulse, Pulses, Sender, signal,
};

/// Most slots that are read of any of these sections.
const MOST_SLOTS: u64 = 1 << 20;
/// Bytes from its load address on that an address may be in the executable.
const LARGEST_EXECUTABLE: u64 = 1 << 32;
/// Longest text of a message that is shown, in bytes: what many actors refer to must not multiply.
const LONGEST_DOING: usize = 256;

/// Reads it all. `now` is the time where the writer lives; a dead one's last sign of life stands in the region.
pub(crate) fn read(view: WordView<'_>, header: &Header, sections: &SectionTable, now: Option<Moment>) -> Evidence {
    let reader = Reader { view, sections };
    let mut evidence = Evidence {
        until: Moment::default(),
        activities: reader.activities(),
        pulses: reader.pulses(),
        notes: reader.notes(),
        panics: reader.panics(),
        crash_hooks: CrashHooks::from_wire(reader.word(Control::CRASH_HOOKS)).map(|hooks| hooks == CrashHooks::On),
        fatal: None,
        fatal_unfinished: None,
    };
    (evidence.fatal, evidence.fatal_unfinished) = reader.fatal();
    evidence.until = now.unwrap_or_else(|| last_sign(&evidence, header, &reader));
    evidence.reckon();
    evidence
}

/// The pulses alone, with their ages at `now`.
pub(crate) fn pulses(view: WordView<'_>, sections: &SectionTable, now: Moment) -> Vec<Pulse> {
    let pulses = Reader { view, sections }.pulses();
    let mut evidence = Evidence { until: now, pulses, ..Evidence::default() };
    evidence.reckon();
    evidence.pulses.loops
}

/// The fatal record alone, or the thread that claimed it and did not complete it.
pub(crate) fn fatal(view: WordView<'_>, sections: &SectionTable) -> (Option<Fatal>, Option<u64>) {
    Reader { view, sections }.fatal()
}

/// How many actors are stuck at `now_ns`, by the rule of [`Activity::stuck`]; no text is read.
pub(crate) fn stuck(view: WordView<'_>, sections: &SectionTable, now_ns: u64, longest_ns: u64) -> u64 {
    let reader = Reader { view, sections };
    let section = reader.section(SectionKind::Activities);
    let mut stuck = 0;
    for slot in 0..reader.used(SectionKind::Activities, Control::ACTIVITIES_USED) {
        let Found::Record((word, record)) = reader.slot::<ActivityRecord>(section, slot, 0) else { continue };
        let busy_ns = (record.doing != 0).then(|| now_ns.saturating_sub(record.since_monotonic_ns));
        let ActivityRecord { mailbox_depth, mailbox_capacity, .. } = record;
        let state = state(word, record.outcome);
        let activity = Activity { state, busy_ns, mailbox_depth, mailbox_capacity, ..Activity::default() };
        stuck += u64::from(activity.stuck(longest_ns).is_some());
    }
    stuck
}

/// Reads the activities alone.
pub(crate) fn activities(view: WordView<'_>, sections: &SectionTable) -> Activities {
    Reader { view, sections }.activities()
}

/// The last sign of life that stands in a region.
fn last_sign(evidence: &Evidence, header: &Header, reader: &Reader<'_>) -> Moment {
    let built = Moment { realtime_ns: header.created_realtime_ns, monotonic_ns: header.created_monotonic_ns };
    let tick = Moment {
        realtime_ns: reader.word(Control::TICK_REALTIME_NS),
        monotonic_ns: reader.word(Control::TICK_MONOTONIC_NS),
    };
    let mut signs = vec![built, tick];
    signs.extend(evidence.notes.lines.iter().map(|note| note.at));
    signs.extend(evidence.panics.first.iter().chain(&evidence.panics.latest).map(|panic| panic.at));
    signs.extend(evidence.fatal.iter().map(|fatal| fatal.at));
    signs.extend(end(reader, if tick.monotonic_ns > built.monotonic_ns { tick } else { built }));
    let latest = signs.into_iter().max_by_key(|sign| sign.monotonic_ns).unwrap_or_default();
    // These have the one clock only: the other by the latest that has both.
    let beats = evidence.pulses.loops.iter().map(|pulse| pulse.beat_monotonic_ns);
    let since = evidence.activities.actors.iter().map(|activity| activity.since_monotonic_ns);
    let later = beats.chain(since).fold(0, u64::max).saturating_sub(latest.monotonic_ns);
    Moment {
        realtime_ns: latest.realtime_ns.saturating_add(later),
        monotonic_ns: latest.monotonic_ns.saturating_add(later),
    }
}

/// When the writer closed, exited or unwound: noted by the wall clock, which runs as it did at the last tick.
fn end(reader: &Reader<'_>, tick: Moment) -> Option<Moment> {
    let state = RegionState::from_wire(reader.word(Control::STATE))?;
    let ended = matches!(state, RegionState::Closed | RegionState::Unwound | RegionState::Exited);
    let realtime_ns = reader.word(Control::STATE_REALTIME_NS);
    let later = realtime_ns.checked_sub(tick.realtime_ns).filter(|_| ended)?;
    Some(Moment { realtime_ns, monotonic_ns: tick.monotonic_ns.saturating_add(later) })
}

impl Evidence {
    /// Fills in what follows from the rest: ages, and which actor stands in which slot.
    fn reckon(&mut self) {
        for activity in &mut self.activities.actors {
            activity.busy_ns = activity.doing.as_ref().map(|_| self.until.since_ns(activity.since_monotonic_ns));
        }
        for pulse in &mut self.pulses.loops {
            pulse.age_ns = self.until.since_ns(pulse.beat_monotonic_ns);
            pulse.broken = pulse.age_ns > pulse.max_age_ns;
        }
        let actors = &self.activities.actors;
        let name = |by: &mut Culprit, at: Moment| {
            let Some(slot) = by.activity else { return };
            let found = actors.binary_search_by_key(&slot, |activity| activity.slot).ok();
            let found = found.and_then(|index| actors.get(index));
            // A slot that was claimed later is another actor's.
            let same = found.filter(|activity| activity.claimed_realtime_ns <= at.realtime_ns);
            by.actor = same.map(|activity| activity.actor.clone());
        };
        for panic in self.panics.first.iter_mut().chain(&mut self.panics.latest) {
            name(&mut panic.by, panic.at);
        }
        if let Some(fatal) = &mut self.fatal {
            name(&mut fatal.by, fatal.at);
        }
    }
}

struct Reader<'a> {
    view: WordView<'a>,
    sections: &'a SectionTable,
}

/// What a slot holds.
enum Found<T> {
    Nothing,
    Record(T),
    LeftOut,
}

impl Reader<'_> {
    fn word(&self, offset: u64) -> u64 {
        self.view.load(offset).unwrap_or(0)
    }

    fn section(&self, kind: SectionKind) -> Section {
        self.sections.section(kind)
    }

    /// Slots of a section below a mark that the writer raises.
    fn used(&self, kind: SectionKind, mark: u64) -> u64 {
        self.word(mark).min(self.section(kind).count).min(MOST_SLOTS)
    }

    /// A stamped record with its number.
    fn committed<T: Words>(&self, section: Section, slot: u64) -> Found<(u64, T)> {
        let Some(entry) = section.entry(slot) else { return Found::LeftOut };
        match self.view.stamped::<T>(entry) {
            Some(found) => Found::Record(found),
            None if self.view.load(entry) == Some(0) => Found::Nothing,
            // It is being written, or its writer died meanwhile.
            None => Found::LeftOut,
        }
    }

    /// A record with a slot word `at` bytes from its start.
    fn slot<T: Words>(&self, section: Section, slot: u64, at: u64) -> Found<(SlotWord, T)> {
        let Some(entry) = section.entry(slot) else { return Found::LeftOut };
        let Some((word, record)) = self.view.owned::<T>(entry, at) else { return Found::LeftOut };
        match word.state() {
            Some(SlotState::Free) => Found::Nothing,
            Some(SlotState::Live | SlotState::Retired) => Found::Record((word, record)),
            Some(SlotState::Building) | None => Found::LeftOut,
        }
    }

    fn activities(&self) -> Activities {
        let section = self.section(SectionKind::Activities);
        let mut found = Activities { overflows: self.word(Control::ACTIVITY_OVERFLOWS), ..Activities::default() };
        for slot in 0..self.used(SectionKind::Activities, Control::ACTIVITIES_USED) {
            match self.slot::<ActivityRecord>(section, slot, 0) {
                Found::Nothing => {}
                Found::LeftOut => found.left_out += 1,
                Found::Record((word, record)) => found.actors.push(Activity {
                    slot,
                    actor: Actor {
                        actor_type: text(&record.actor_type, record.type_len),
                        id: text(&record.actor_id, record.id_len),
                    },
                    state: state(word, record.outcome),
                    doing: self.doing(record.doing),
                    since_monotonic_ns: record.since_monotonic_ns,
                    busy_ns: None,
                    mailbox_depth: record.mailbox_depth,
                    mailbox_capacity: record.mailbox_capacity,
                    handled: record.handled,
                    claimed_realtime_ns: record.claimed_realtime_ns,
                }),
            }
        }
        found
    }

    /// What an actor is busy with, by reference into the strings; a reference that leads nowhere is said to be one.
    fn doing(&self, word: u64) -> Option<String> {
        if word == 0 {
            return None;
        }
        let strings = self.section(SectionKind::Strings);
        let at = StrRef { offset: word as u32, len: (word >> 32) as u32 };
        let range = at.check(strings.count).ok();
        let bytes = range.and_then(|range| {
            let len = (range.end - range.start).min(LONGEST_DOING as u64);
            self.view.bytes(strings.offset + range.start, len)
        });
        Some(bytes.map_or_else(|| "(damaged)".to_owned(), |bytes| text(&bytes, LONGEST_DOING as u32)))
    }

    fn pulses(&self) -> Pulses {
        let section = self.section(SectionKind::Pulses);
        let mut found = Pulses::default();
        for slot in 0..self.used(SectionKind::Pulses, Control::PULSES_USED) {
            match self.slot::<PulseRecord>(section, slot, std::mem::offset_of!(PulseRecord, state) as u64) {
                Found::Nothing => {}
                Found::LeftOut => found.left_out += 1,
                // A loop that ended in order promises nothing any more.
                Found::Record((word, _)) if word.state() == Some(SlotState::Retired) => {}
                Found::Record((_, record)) => found.loops.push(Pulse {
                    name: text(&record.name, u32::try_from(record.name_len).unwrap_or(u32::MAX)),
                    count: record.count,
                    beat_monotonic_ns: record.beat_monotonic_ns,
                    max_age_ns: record.max_age_ns,
                    age_ns: 0,
                    broken: false,
                }),
            }
        }
        found
    }

    fn notes(&self) -> Notes {
        let section = self.section(SectionKind::Notes);
        let mut found = Notes { written: self.word(Control::NOTES_WRITTEN), ..Notes::default() };
        for slot in 0..section.count.min(MOST_SLOTS) {
            match self.committed::<NoteRecord>(section, slot) {
                Found::Nothing => {}
                Found::Record((number, note)) if ring_slot(number, section.count) == slot => match level(note.level) {
                    Some(level) => found.lines.push(Note {
                        number,
                        at: Moment { realtime_ns: note.realtime_ns, monotonic_ns: note.monotonic_ns },
                        level,
                        thread_id: note.thread_id,
                        text: text(&note.text, note.len),
                    }),
                    None => found.left_out += 1,
                },
                Found::Record(_) | Found::LeftOut => found.left_out += 1,
            }
        }
        found.lines.sort_unstable_by_key(|note| note.number);
        found.lost = found.written.saturating_sub(found.lines.len() as u64 + found.left_out);
        found
    }

    fn panics(&self) -> Panics {
        let section = self.section(SectionKind::Crash);
        let mut found = Panics { seen: self.word(Control::PANICS_SEEN), ..Panics::default() };
        for slot in CrashSlots::FIRST_PANIC..CrashSlots::COUNT.min(section.count) {
            let ring = slot.checked_sub(CrashSlots::PANIC_RING);
            match self.committed::<PanicRecord>(section, slot) {
                Found::Nothing => {}
                Found::Record((number, panic)) => match ring {
                    None => found.first = Some(owned(number, &panic)),
                    Some(ring) if ring_slot(number, CrashSlots::PANIC_RING_LEN) == ring => {
                        found.latest.push(owned(number, &panic));
                    }
                    Some(_) => found.left_out += 1,
                },
                Found::LeftOut => found.left_out += 1,
            }
        }
        found.latest.sort_unstable_by_key(|panic| panic.number);
        let first = found.first.as_ref().filter(|first| found.latest.iter().all(|panic| panic.number != first.number));
        let kept = found.latest.len() as u64 + u64::from(first.is_some());
        found.lost = found.seen.saturating_sub(kept + found.left_out);
        found
    }

    /// The fatal record, or the thread that claimed it and did not complete it.
    fn fatal(&self) -> (Option<Fatal>, Option<u64>) {
        let section = self.section(SectionKind::Crash);
        match self.committed::<FatalRecord>(section, CrashSlots::FATAL) {
            Found::Record((_, record)) => {
                let fatal = Fatal {
                    at: Moment { realtime_ns: record.realtime_ns, monotonic_ns: record.monotonic_ns },
                    signal: record.signal,
                    name: signal::name(record.signal),
                    code: record.code,
                    code_name: signal::code_name(record.signal, record.code).map(str::to_owned),
                    address: signal::address(record.signal, record.code, record.address),
                    sender: signal::is_sent(record.code)
                        .then_some(Sender { pid: record.sender_pid, uid: record.sender_uid }),
                    instruction: record.instruction,
                    instruction_offset: offset(record.instruction, record.image_base),
                    stack: record.stack,
                    panicking: match record.panicking {
                        1 => Some(false),
                        2 => Some(true),
                        _ => None,
                    },
                    by: culprit(record.claim, &record.thread_name, record.activity),
                    frames: frames(&record.frames, record.frame_count, record.image_base),
                };
                (Some(fatal), None)
            }
            Found::Nothing | Found::LeftOut => {
                let claim = section
                    .entry(CrashSlots::FATAL)
                    .and_then(|entry| self.view.load(entry + std::mem::offset_of!(FatalRecord, claim) as u64));
                (None, claim.filter(|claim| *claim != 0))
            }
        }
    }
}

fn state(word: SlotWord, outcome: u64) -> ActivityState {
    match word.state() {
        Some(SlotState::Retired) if outcome == ActivityRecord::UNWOUND => ActivityState::Unwound,
        Some(SlotState::Retired) => ActivityState::Ended,
        _ => ActivityState::Live,
    }
}

fn owned(number: u64, panic: &PanicRecord) -> Panic {
    Panic {
        number,
        at: Moment { realtime_ns: panic.realtime_ns, monotonic_ns: panic.monotonic_ns },
        by: culprit(panic.thread_id, &panic.thread_name, panic.activity),
        message: text(&panic.message, panic.message_len),
        place: text(&panic.place, panic.place_len),
        frames: frames(&panic.frames, panic.frame_count, panic.image_base),
        runtime_frames: panic.runtime_frames.min(panic.frames.len() as u64),
    }
}

fn culprit(thread_id: u64, thread_name: &[u8; 16], activity: u64) -> Culprit {
    let len = thread_name.iter().position(|byte| *byte == 0).unwrap_or(thread_name.len());
    Culprit { thread_id, thread_name: text(thread_name, len as u32), activity: activity.checked_sub(1), actor: None }
}

fn frames(frames: &[u64], count: u64, image_base: u64) -> Vec<Frame> {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(frames.len());
    let frame = |address: &u64| Frame { address: *address, offset: offset(*address, image_base) };
    frames.iter().take(count).map(frame).collect()
}

/// An address less the load address of the executable; `None` where it is outside.
fn offset(address: u64, image_base: u64) -> Option<u64> {
    // What was mapped where is not in the region; libraries lie far from the executable.
    address.checked_sub(image_base).filter(|offset| *offset < LARGEST_EXECUTABLE)
}

const fn level(level: u32) -> Option<Level> {
    match level {
        1 => Some(Level::Error),
        2 => Some(Level::Warn),
        3 => Some(Level::Info),
        4 => Some(Level::Debug),
        5 => Some(Level::Trace),
        _ => None,
    }
}

/// A foreign text, at most as long as its field: cut on a character's edge, what is no UTF-8 or drives a terminal shown
/// as U+FFFD, line breaks and tabs as spaces.
fn text(field: &[u8], len: u32) -> String {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(field.len());
    let mut bytes = field.get(..len).unwrap_or_default();
    if let Err(error) = std::str::from_utf8(bytes) {
        // Only the last character is incomplete: the text was cut there.
        if error.error_len().is_none() {
            bytes = bytes.get(..error.valid_up_to()).unwrap_or_default();
        }
    }
    let shown = |char: char| match char {
        '\n' | '\t' => ' ',
        char if table::drives(char) => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    String::from_utf8_lossy(bytes).chars().map(shown).collect()
}
