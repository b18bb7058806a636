//! Where a thread was: raw return addresses, as offsets into the executable, and how to read them.
//!
//! Nothing is looked up here: whoever has the executable of that build id runs the command that stands there.

use serde::Serialize;

use crate::evidence::Frame;

/// What is said where an address is in no known place.
pub(super) const OUTSIDE: &str = "in parentheses: addresses outside the executable, in a shared library or the kernel's own \
                                  page. Which one is not known: a region holds no list of what was mapped.";

/// The frames of the thread that died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frames {
    /// Whose they are: `panic` or `signal`.
    pub of: &'static str,
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// Build id of the executable that they are offsets into, in hexadecimal.
    pub build_id: String,
    /// A command line that names functions and lines.
    pub command: Option<String>,
}

impl Frames {
    pub(crate) fn new(of: &'static str, frames: &[Frame], exe: &str, build_id: &str) -> Option<Self> {
        if frames.is_empty() {
            return None;
        }
        // A return address is behind its call: one back is in it.
        let offsets: Vec<String> = frames
            .iter()
            .filter_map(|frame| frame.offset)
            .map(|offset| format!("{:#x}", offset.saturating_sub(1)))
            .collect();
        let command = (!offsets.is_empty() && !exe.is_empty())
            .then(|| format!("addr2line -e {} -f -C -i {}", quoted(exe), offsets.join(" ")));
        Some(Self { of, frames: frames.to_vec(), build_id: build_id.to_owned(), command })
    }
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

    #[test]
    fn the_command_names_calls_and_quotes_the_path() {
        let frames = [Frame { address: 0x5010, offset: Some(0x10) }, Frame { address: 1, offset: None }];
        let frames = Frames::new("panic", &frames, "/opt/it's/mc", "ab").unwrap();
        assert_eq!(frames.command.as_deref(), Some("addr2line -e '/opt/it'\\''s/mc' -f -C -i 0xf"));
        assert_eq!(Frames::new("panic", &[], "/mc", "ab"), None);
    }
}
