//! Frames: what a block of a recording is made of. Each says its length and carries a CRC, so that a block that ends in the
//! middle of one, or was copied while it was written, is good up to there.
//!
//! Both ends of a block use this. Reading is bounded whatever the bytes say: no frame is larger than [`MOST`], and what is
//! inflated is limited by a budget of the whole block.

use std::io::{self, Read, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::wire::Malformed;

/// The first bytes of a block: a name, and the version of the format as a letter.
pub(crate) const MAGIC: [u8; 8] = *b"TACHREC1";

/// Most bytes of a frame.
pub(crate) const MOST: u32 = 256 << 20;

/// Bytes before a frame's content: length and CRC.
pub(crate) const HEAD: usize = 8;

/// Frames at least so long are deflated.
const WORTH: usize = 512;

/// Bit of the kind: the content is deflated.
const DEFLATED: u8 = 0x80;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The block's [`super::Origin`].
    Origin,
    /// A change of the structure.
    Structure,
    /// A tick.
    Tick,
    /// Nothing follows: the block was ended in order.
    End,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Origin => 1,
            Self::Structure => 2,
            Self::Tick => 3,
            Self::End => 4,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        Some(match code & !DEFLATED {
            1 => Self::Origin,
            2 => Self::Structure,
            3 => Self::Tick,
            4 => Self::End,
            _ => return None,
        })
    }
}

/// Appends a frame. `deflate`: where that may make it shorter.
pub(crate) fn put(out: &mut Vec<u8>, kind: Kind, content: &[u8], deflate: bool) {
    let deflated = (deflate && content.len() >= WORTH).then(|| deflated(content)).flatten();
    let (code, content) = match &deflated {
        Some(deflated) => (kind.code() | DEFLATED, deflated.as_slice()),
        None => (kind.code(), content),
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[code]);
    crc.update(content);
    out.extend_from_slice(&(content.len() as u32 + 1).to_le_bytes());
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.push(code);
    out.extend_from_slice(content);
}

fn deflated(content: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).ok()?;
    encoder.finish().ok().filter(|deflated| deflated.len() < content.len())
}

/// How reading frames ended.
#[derive(Debug)]
pub(crate) enum Next {
    /// A frame; its content is in the buffer.
    Frame(Kind),
    /// The block ends here, between two frames.
    End,
    /// What follows is no frame: it was cut short while it was written, or is damaged.
    Torn,
}

/// Reads frames one after the other.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    source: R,
    /// Bytes that may still be inflated.
    budget: u64,
    raw: Vec<u8>,
    /// Content of the last frame.
    pub(crate) content: Vec<u8>,
    /// Bytes of the frames read so far, the magic included.
    pub(crate) read: u64,
}

impl<R: Read> Frames<R> {
    /// Reads the magic. `len` is how long the block is.
    pub(crate) fn new(mut source: R, len: u64) -> io::Result<Option<Self>> {
        let mut magic = [0; MAGIC.len()];
        if fill(&mut source, &mut magic)? < magic.len() || magic != MAGIC {
            return Ok(None);
        }
        // Text and zeros deflate well, but no honest structure so well as this.
        let budget = len.saturating_mul(256).clamp(16 << 20, 4 << 30);
        Ok(Some(Self { source, budget, raw: Vec::new(), content: Vec::new(), read: magic.len() as u64 }))
    }

    /// Reads the next frame; one of a kind that is not known is skipped.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
        loop {
            let mut head = [0; HEAD];
            match fill(&mut self.source, &mut head)? {
                0 => return Ok(Next::End),
                HEAD => {}
                _ => return Ok(Next::Torn),
            }
            let [a, b, c, d, crc @ ..] = head;
            let (len, crc) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(crc));
            if len == 0 || len > MOST {
                return Ok(Next::Torn);
            }
            self.raw.clear();
            // Grows with what is there, not with what the length says.
            (&mut self.source).take(u64::from(len)).read_to_end(&mut self.raw)?;
            if self.raw.len() as u64 != u64::from(len) || crc32fast::hash(&self.raw) != crc {
                return Ok(Next::Torn);
            }
            self.read += HEAD as u64 + u64::from(len);
            let Some((code, content)) = self.raw.split_first() else { return Ok(Next::Torn) };
            let Some(kind) = Kind::of(*code) else { continue };
            self.content.clear();
            if code & DEFLATED == 0 {
                self.content.extend_from_slice(content);
            } else if inflate(content, &mut self.content, &mut self.budget).is_err() {
                return Ok(Next::Torn);
            }
            return Ok(Next::Frame(kind));
        }
    }
}

fn inflate(content: &[u8], out: &mut Vec<u8>, budget: &mut u64) -> Result<(), Malformed> {
    let most = (*budget).min(u64::from(MOST));
    let read = DeflateDecoder::new(content).take(most + 1).read_to_end(out);
    let inflated = read.map_err(|_| Malformed("what is deflated can't be inflated"))? as u64;
    *budget = budget.checked_sub(inflated).ok_or(Malformed("more is inflated than a block holds"))?;
    if inflated > most { Err(Malformed("more is inflated than a frame holds")) } else { Ok(()) }
}

/// Reads until the buffer is full or nothing is left; gives how much was read.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
