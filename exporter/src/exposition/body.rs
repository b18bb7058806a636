//! A body while it is written: on pages, each of which is handed on where it is full. A line asks for room once; its texts are
//! copied in blocks of a fixed size, past their ends where they are shorter, and what is behind them is written where it stands: no
//! copy has a length that the compiler does not know. What a block wrote too much, the next text writes over.
//!
//! Called by all formats. It knows no format, and what stands behind the end of a page is never handed on.

use crate::number::WIDTH;

/// Bytes of a page: a part of the cache that is its processor's own, and far more than a line.
pub(crate) const PAGE: usize = 64 << 10;

/// What a body is written on.
pub(crate) type Page = [u8; PAGE];

/// A page without anything on it.
pub(crate) fn blank() -> Box<Page> {
    // Not from an array, which would stand on the stack first.
    let page = vec![0; PAGE].into_boxed_slice();
    page.try_into().unwrap_or_else(|_| unreachable!("it has the length of a page"))
}

/// The longest texts around the labels of a line, and the longest labels, that are copied in blocks.
pub(crate) const AROUND: usize = 64;
const LABELS: usize = 128;
/// What a line takes at most whose texts are no longer.
const ROOM: usize = 2 * AROUND + LABELS + WIDTH;

/// A text of so many bytes, and what is behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) len: usize,
}

impl<'a> Text<'a> {
    /// The block that holds it, and how long it is in there.
    fn block<const BLOCK: usize>(self) -> Option<(&'a [u8; BLOCK], usize)> {
        (self.len <= BLOCK).then_some((self.from.first_chunk()?, self.len))
    }
}

/// Takes what was written on a full page, so many bytes: off the page, or with it, where it leaves another in its place.
pub(crate) type Turn<'a> = dyn FnMut(&mut Box<Page>, usize) + 'a;

/// Writes on one page after the other.
pub(crate) struct Body<'a> {
    page: Box<Page>,
    /// Where the page's next line begins.
    end: usize,
    turn: &'a mut Turn<'a>,
    /// What is made apart, before it goes on a page.
    apart: Vec<u8>,
}

impl<'a> Body<'a> {
    /// Begins on this page.
    pub(super) fn new(page: Box<Page>, turn: &'a mut Turn<'a>) -> Self {
        Self { page, end: 0, turn, apart: Vec::new() }
    }

    /// The last page, and how much is on it.
    pub(super) fn finish(self) -> (Box<Page>, usize) {
        (self.page, self.end)
    }

    /// Has something appended that must be whole before its beginning is known.
    pub(super) fn appending(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        let mut whole = std::mem::take(&mut self.apart);
        append(&mut whole);
        self.text(&whole);
        whole.clear();
        self.apart = whole;
    }

    /// Appends a text of any length.
    pub(super) fn text(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            if self.end == PAGE {
                self.turn();
            }
            let (here, rest) = text.split_at(text.len().min(PAGE - self.end));
            if let Some(place) = self.page.get_mut(self.end..self.end + here.len()) {
                place.copy_from_slice(here);
            }
            self.end += here.len();
            text = rest;
        }
    }

    /// Appends lines that differ in labels and number: each is `head`, labels, `tail`, and what `write` makes of the number, of
    /// which it tells the length.
    #[inline]
    pub(super) fn lines<'t, N: Copy>(
        &mut self,
        head: Text<'_>,
        tail: Text<'_>,
        lines: impl Iterator<Item = (Text<'t>, N)>,
        write: impl Fn(&mut [u8; WIDTH], N) -> usize + Copy,
    ) {
        // Most are short.
        if let (Some(head), Some(tail)) = (head.block::<32>(), tail.block::<32>()) {
            self.lines_of(head, tail, lines, write);
        } else if let (Some(head), Some(tail)) = (head.block::<AROUND>(), tail.block::<AROUND>()) {
            self.lines_of(head, tail, lines, write);
        } else {
            lines.for_each(|(labels, number)| self.rare_line(head, labels, tail, |place| write(place, number)));
        }
    }

    fn lines_of<'t, const HEAD: usize, const TAIL: usize, N: Copy>(
        &mut self,
        head: (&[u8; HEAD], usize),
        tail: (&[u8; TAIL], usize),
        lines: impl Iterator<Item = (Text<'t>, N)>,
        write: impl Fn(&mut [u8; WIDTH], N) -> usize + Copy,
    ) {
        // Copies of their own, which no write to the page could change.
        let (head, tail) = ((&{ *head.0 }, head.1), (&{ *tail.0 }, tail.1));
        let mut end = self.end;
        for (labels, number) in lines {
            let place = self.page.get_mut(end..).and_then(|place| place.first_chunk_mut());
            let written = place.and_then(|place| write_line(place, head, labels, tail, |place| write(place, number)));
            end = if let Some(written) = written {
                end + written
            } else {
                self.end = end;
                self.rare((head.0, head.1), (labels.from, labels.len), (tail.0, tail.1), |place| write(place, number));
                self.end
            };
        }
        self.end = end;
    }

    /// Appends lines of the same labels, each between a head and a tail of its own.
    #[inline]
    pub(super) fn alike<'t, N: Copy>(
        &mut self,
        labels: Text<'_>,
        lines: impl Iterator<Item = ((Text<'t>, Text<'t>), N)>,
        write: impl Fn(&mut [u8; WIDTH], N) -> usize + Copy,
    ) {
        let mut end = self.end;
        for ((head, tail), number) in lines {
            let place = self.page.get_mut(end..).and_then(|place| place.first_chunk_mut());
            let written = place.and_then(|place| {
                let number = |place: &mut [u8; WIDTH]| write(place, number);
                if let (Some(head), Some(tail)) = (head.block::<32>(), tail.block::<AROUND>()) {
                    write_line(place, head, labels, tail, number)
                } else {
                    write_line(place, head.block::<AROUND>()?, labels, tail.block::<AROUND>()?, number)
                }
            });
            end = if let Some(written) = written {
                end + written
            } else {
                self.end = end;
                self.rare_line(head, labels, tail, |place| write(place, number));
                self.end
            };
        }
        self.end = end;
    }

    /// Appends one such line.
    #[inline(always)]
    pub(super) fn line(
        &mut self,
        head: Text<'_>,
        labels: Text<'_>,
        tail: Text<'_>,
        number: impl Fn(&mut [u8; WIDTH]) -> usize,
    ) {
        if let (Some(head), Some(tail)) = (head.block::<AROUND>(), tail.block::<AROUND>())
            && let Some(place) = self.page.get_mut(self.end..).and_then(|place| place.first_chunk_mut())
            && let Some(written) = write_line(place, head, labels, tail, &number)
        {
            self.end += written;
        } else {
            self.rare_line(head, labels, tail, number);
        }
    }

    fn rare_line(
        &mut self,
        head: Text<'_>,
        labels: Text<'_>,
        tail: Text<'_>,
        number: impl Fn(&mut [u8; WIDTH]) -> usize,
    ) {
        self.rare((head.from, head.len), (labels.from, labels.len), (tail.from, tail.len), number);
    }

    /// A line with a long text, or for which there may be no room on this page.
    #[cold]
    #[inline(never)]
    fn rare(
        &mut self,
        head: (&[u8], usize),
        labels: (&[u8], usize),
        tail: (&[u8], usize),
        number: impl Fn(&mut [u8; WIDTH]) -> usize,
    ) {
        for (from, len) in [head, labels, tail] {
            self.text(from.get(..len).unwrap_or(from));
        }
        let mut place = [0; WIDTH];
        let len = number(&mut place);
        self.text(place.get(..len).unwrap_or_default());
    }

    /// Hands the page on and begins the next.
    fn turn(&mut self) {
        (self.turn)(&mut self.page, self.end);
        self.end = 0;
    }
}

/// Writes a line and says how long it is; `None` where its labels are long, or not as much is behind them as is copied.
///
/// A call a line, or a block, would cost a third of the line: whether one is made must not hang on how the crate is cut into
/// units. All lengths are below what `place` has, which the compiler sees.
#[inline(always)]
fn write_line<const HEAD: usize, const TAIL: usize>(
    place: &mut [u8; ROOM],
    (head, head_len): (&[u8; HEAD], usize),
    labels: Text<'_>,
    (tail, tail_len): (&[u8; TAIL], usize),
    number: impl Fn(&mut [u8; WIDTH]) -> usize,
) -> Option<usize> {
    put(place, 0, head)?;
    let at = head_len.min(HEAD);
    if labels.len <= 32 {
        put::<32>(place, at, labels.from.first_chunk()?)?;
    } else if labels.len <= 64 {
        put::<64>(place, at, labels.from.first_chunk()?)?;
    } else if labels.len <= LABELS {
        put::<LABELS>(place, at, labels.from.first_chunk()?)?;
    } else {
        return None;
    }
    let at = at + labels.len;
    put(place, at, tail)?;
    let at = at + tail_len.min(TAIL);
    Some(at + number(place.get_mut(at..)?.first_chunk_mut()?))
}

#[inline(always)]
fn put<const BLOCK: usize>(place: &mut [u8; ROOM], at: usize, block: &[u8; BLOCK]) -> Option<()> {
    *place.get_mut(at..)?.first_chunk_mut()? = *block;
    Some(())
}
