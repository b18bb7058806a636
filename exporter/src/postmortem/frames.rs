//! Where a thread was: raw return addresses, as offsets into the executable, and how to read them.
//!
//! Nothing is looked up here: whoever has the executable of that build id runs the command that stands there.

use std::collections::HashSet;

use serde::Serialize;

use crate::evidence::{Fatal, Frame, Panic};

/// What is said where an address is in no known place.
const OUTSIDE: &str = "in parentheses: addresses outside the executable, in a shared library or the kernel's own page. Which \
                       one is not known: a region holds no list of what was mapped.";

/// The frames of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frames {
    /// Whose they are: `panic` or `signal`.
    pub of: &'static str,
    /// Innermost first. Of a signal the first one is the instruction that it interrupted, the others are return addresses.
    pub frames: Vec<Frame>,
    /// How many of the innermost are the recorder's and the panic runtime's.
    pub runtime_frames: u64,
    /// Build id of the executable that they are offsets into, in hexadecimal.
    pub build_id: String,
    /// A command line that names functions and lines: of the executable's own addresses, each once.
    pub command: Option<String>,
}

impl Frames {
    /// Those of a panic.
    pub(crate) fn of_panic(panic: &Panic, exe: &str, build_id: &str) -> Option<Self> {
        // Where all of them are the runtime's, they are all there is.
        let runtime = usize::try_from(panic.runtime_frames).ok().filter(|count| *count < panic.frames.len());
        Self::new("panic", panic.frames.clone(), runtime.unwrap_or(0), 0, exe, build_id)
    }

    /// Those of a fatal signal.
    pub(crate) fn of_signal(fatal: &Fatal, exe: &str, build_id: &str) -> Option<Self> {
        let at = Frame { address: fatal.instruction, offset: fatal.instruction_offset };
        let at = (fatal.instruction != 0).then_some(at);
        let exact = usize::from(at.is_some());
        let frames = at.into_iter().chain(fatal.frames.iter().copied()).collect();
        Self::new("signal", frames, 0, exact, exe, build_id)
    }

    /// `exact` of them, the innermost, are no return addresses.
    fn new(
        of: &'static str,
        frames: Vec<Frame>,
        runtime: usize,
        exact: usize,
        exe: &str,
        build_id: &str,
    ) -> Option<Self> {
        if frames.is_empty() {
            return None;
        }
        let runtime_frames = runtime as u64;
        let found = Self { of, frames, runtime_frames, build_id: build_id.to_owned(), command: None };
        let command = command(exe, found.places(exact));
        Some(Self { command, ..found })
    }

    /// Places in the executable, innermost first, without the runtime's. `exact` of the frames are no return addresses.
    pub(crate) fn places(&self, exact: usize) -> impl Iterator<Item = u64> {
        let runtime = usize::try_from(self.runtime_frames).unwrap_or(usize::MAX);
        self.frames.iter().enumerate().skip(runtime).filter_map(move |(index, frame)| {
            // A return address is behind its call: one back is in it.
            frame.offset.map(|offset| if index < exact { offset } else { offset.saturating_sub(1) })
        })
    }

    /// The addresses as a page shows them, at most `most`: without the runtime's, and those that repeat once.
    pub(crate) fn shown(&self, most: usize) -> String {
        let runtime = usize::try_from(self.runtime_frames).unwrap_or(usize::MAX);
        let frames = self.frames.get(runtime..).unwrap_or_default();
        let runs: Vec<&[Frame]> = frames.chunk_by(|one, next| one.address == next.address).collect();
        let mut words = Vec::new();
        if runtime > 0 {
            let frames = if runtime == 1 { "frame" } else { "frames" };
            words.push(format!("({runtime} {frames} of the panic itself)"));
        }
        for run in runs.iter().take(most) {
            let Some(frame) = run.first() else { continue };
            let address =
                frame.offset.map_or_else(|| format!("({:#x})", frame.address), |offset| format!("{offset:#x}"));
            let times = if run.len() > 1 { format!(" ({} times)", run.len()) } else { String::new() };
            words.push(format!("{address}{times}"));
        }
        let more: usize = runs.iter().skip(most).map(|run| run.len()).sum();
        if more > 0 {
            words.push(format!("and {more} more"));
        }
        words.join(" ")
    }

    /// What the addresses are.
    pub(crate) fn heading(&self) -> String {
        format!("of the {}, innermost first, as offsets into the executable", self.of)
    }

    /// What is to be said of addresses in what is shown that are not of the executable; `None` where there is none.
    pub(crate) fn outside(shown: &str) -> Option<&'static str> {
        shown.contains("(0x").then_some(OUTSIDE)
    }
}

/// A command line that names places in an executable, each once; `None` where there are none.
pub(crate) fn command(exe: &str, places: impl IntoIterator<Item = u64>) -> Option<String> {
    let mut seen = HashSet::new();
    let places = places.into_iter().filter(|place| seen.insert(*place));
    let places: Vec<String> = places.map(|place| format!("{place:#x}")).collect();
    (!places.is_empty() && !exe.is_empty())
        .then(|| format!("addr2line -e {} -f -C -i {}", quoted(exe), places.join(" ")))
}

/// A path as a shell takes it.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(offset: u64) -> Frame {
        Frame { address: 0x5000 + offset, offset: Some(offset) }
    }

    const LIBRARY: Frame = Frame { address: 0x7fff_0000_1234, offset: None };

    #[test]
    fn the_command_names_each_call_of_the_executable_once_and_quotes_the_path() {
        let panic = Panic { frames: vec![frame(0x10), LIBRARY, frame(0x20), frame(0x10)], ..Panic::default() };
        let frames = Frames::of_panic(&panic, "/opt/it's/mc", "ab").unwrap();
        assert_eq!(frames.command.as_deref(), Some("addr2line -e '/opt/it'\\''s/mc' -f -C -i 0xf 0x1f"));
        assert_eq!(Frames::of_panic(&Panic::default(), "/mc", "ab"), None);
    }

    #[test]
    fn frames_of_the_runtime_are_counted_and_those_that_repeat_stand_once() {
        let list = [&[frame(1), frame(2)][..], &[frame(0x30); 5], &[LIBRARY, frame(0x40), frame(0x50)]].concat();
        let panic = Panic { frames: list, runtime_frames: 2, ..Panic::default() };
        let frames = Frames::of_panic(&panic, "/mc", "ab").unwrap();
        let shown = "(2 frames of the panic itself) 0x30 (5 times) (0x7fff00001234) 0x40 and 1 more";
        assert_eq!(frames.shown(3), shown);
        assert_eq!(frames.command.as_deref(), Some("addr2line -e /mc -f -C -i 0x2f 0x3f 0x4f"));
        assert_eq!((Frames::outside(shown), Frames::outside("0x30 0x40")), (Some(OUTSIDE), None));
        let all = Panic { frames: vec![frame(1)], runtime_frames: 64, ..Panic::default() };
        assert_eq!(Frames::of_panic(&all, "/mc", "ab").unwrap().shown(3), "0x1", "a count that leaves nothing is none");
    }

    #[test]
    fn of_a_signal_the_instruction_comes_first_and_as_it_is() {
        let fatal =
            Fatal { instruction: 0x5008, instruction_offset: Some(8), frames: vec![frame(0x10)], ..Fatal::default() };
        let frames = Frames::of_signal(&fatal, "/mc", "ab").unwrap();
        assert_eq!(
            (frames.shown(9).as_str(), frames.command.as_deref()),
            ("0x8 0x10", Some("addr2line -e /mc -f -C -i 0x8 0xf"))
        );
    }
}
