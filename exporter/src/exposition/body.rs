//! A body while it is written. Lines are written on a page of a fixed size that stays in the nearest cache, and a full page
//! is handed on at once. A line asks for room once; its text is copied in blocks of a fixed size, past its end where it is
//! shorter, and its number is written where it stands: no copy has a length that the compiler does not know. What a block
//! wrote too much, the next line writes over.
//!
//! Called by all formats. It knows no format, and what stands behind the end of a page never leaves this file.

use crate::number::WIDTH;

/// Bytes that are copied at a time.
pub(crate) const BLOCK: usize = 32;

/// Blocks that are copied one by one; a longer text is copied as it is.
const BLOCKS: usize = 4;

/// Bytes of a page. With 16 KiB a line took 2 ns more where the body does not fit the cache, by row `render_text` at `100k`; with
/// either no more at `10k`.
const PAGE: usize = 2 << 10;

/// Takes a piece of a body.
pub(super) type Take<'a> = dyn FnMut(&[u8]) + 'a;

/// Appends to a buffer, a page at a time, or has every page taken out of it.
pub(super) struct Body<'a> {
    page: Box<[u8; PAGE]>,
    /// Where the page's next line begins.
    end: usize,
    out: &'a mut Vec<u8>,
    /// Takes what is in the buffer, which is empty from then on.
    take: Option<&'a mut Take<'a>>,
}

impl<'a> Body<'a> {
    /// Appends to what is in the buffer.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { page: Box::new([0; PAGE]), end: 0, out, take: None }
    }

    /// Has the body taken piece by piece, through an empty buffer.
    pub(super) fn taken(out: &'a mut Vec<u8>, take: &'a mut Take<'a>) -> Self {
        Self { take: Some(take), ..Self::new(out) }
    }

    /// Hands the last page on.
    pub(super) fn finish(mut self) {
        self.turn();
    }

    /// Makes room for so many bytes more, as a first guess.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.take.is_none() {
            self.out.reserve(bytes);
        }
    }

    /// Appends a text.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.appending(|out| out.extend_from_slice(text));
    }

    /// Has something appended behind the page.
    pub(super) fn appending(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        self.turn();
        append(self.out);
        self.pass_on();
    }

    /// Appends the first `len` bytes of `text`, which goes on for a block at least; then the number that `number` writes,
    /// telling how long it is; then the line's end.
    #[inline(always)]
    pub(super) fn line(&mut self, text: &[u8], len: usize, number: impl FnOnce(&mut [u8; WIDTH]) -> usize) {
        if len > BLOCKS * BLOCK || self.end > PAGE - (BLOCKS + 1) * BLOCK - WIDTH {
            return self.rare_line(text, len, number);
        }
        self.end = write(&mut self.page, self.end, text, len, number);
    }

    /// A line for which there is no room on this page, or on any.
    #[inline(never)]
    fn rare_line(&mut self, text: &[u8], len: usize, number: impl FnOnce(&mut [u8; WIDTH]) -> usize) {
        self.turn();
        let mut rest = (text, len);
        if len > BLOCKS * BLOCK {
            let (long, short) = text.split_at(len - len % BLOCK);
            self.out.extend_from_slice(long);
            rest = (short, len % BLOCK);
        }
        self.end = write(&mut self.page, 0, rest.0, rest.1, number);
    }

    /// Hands the page on and begins the next.
    fn turn(&mut self) {
        self.out.extend_from_slice(self.page.get(..self.end).unwrap_or_default());
        self.end = 0;
        self.pass_on();
    }

    fn pass_on(&mut self) {
        if let Some(take) = &mut self.take {
            take(self.out);
            self.out.clear();
        }
    }
}

/// Writes a line to a page, where there is room, and says where it ends. A call a line, or a block, would cost a third of the line:
/// whether one is made must not hang on how the crate is cut into units.
#[inline(always)]
fn write(
    page: &mut [u8; PAGE],
    at: usize,
    text: &[u8],
    len: usize,
    number: impl FnOnce(&mut [u8; WIDTH]) -> usize,
) -> usize {
    // By hand: of a loop over blocks the compiler makes a call again.
    copy_block(page, at, text, 0);
    if len > BLOCK {
        copy_block(page, at, text, 1);
    }
    if len > 2 * BLOCK {
        copy_block(page, at, text, 2);
    }
    if len > 3 * BLOCK {
        copy_block(page, at, text, 3);
    }
    let at = at + len;
    let Some(place) = page.get_mut(at..).and_then(|place| place.first_chunk_mut()) else { return at };
    let end = at + number(place);
    if let Some(place) = page.get_mut(end) {
        *place = b'\n';
    }
    end + 1
}

/// Copies one block of a text that stands at a place of the page.
#[inline(always)]
fn copy_block(page: &mut [u8; PAGE], at: usize, text: &[u8], block: usize) {
    let from = text.get(block * BLOCK..).and_then(|from| from.first_chunk::<BLOCK>());
    let to = page.get_mut(at + block * BLOCK..).and_then(|to| to.first_chunk_mut::<BLOCK>());
    if let (Some(to), Some(from)) = (to, from) {
        *to = *from;
    }
}
