//! How one sorted list becomes the next: runs that stay, go, come, or change a flag.
//!
//! Called by `structure.rs` for series and for actors. Where nothing changed, a list of any length is one run.

use std::borrow::Borrow;

use super::wire::{Cursor, Malformed, put};

/// A run of a list's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    /// So many stay as they are.
    Keep(usize),
    /// So many go.
    Drop(usize),
    /// So many come.
    Insert(usize),
    /// So many stay and change their flag.
    Change(usize),
}

/// Something in a sorted list.
pub(crate) trait Item {
    /// Its place; no two of a list have the same.
    fn order(&self) -> (u64, u64, u64);
    /// Whether another one in the same place is this one, but for its flag.
    fn is_same(&self, other: &Self) -> bool;
    /// Whether the flag of another one is not this one's.
    fn is_changed(&self, other: &Self) -> bool;
    /// Changes the flag.
    fn change(&mut self);
}

/// What turns one list into another.
pub(crate) fn between<T: Item, A: Borrow<T>>(old: impl Iterator<Item = A>, new: impl Iterator<Item = A>) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let (mut left, mut right) = (old.peekable(), new.peekable());
    loop {
        let edit = match (left.peek().map(A::borrow), right.peek().map(A::borrow)) {
            (None, None) => return edits,
            (Some(a), Some(b)) if a.order() == b.order() && a.is_same(b) => {
                if a.is_changed(b) {
                    Edit::Change(1)
                } else {
                    Edit::Keep(1)
                }
            }
            (Some(a), Some(b)) if a.order() <= b.order() => Edit::Drop(1),
            (Some(_), None) => Edit::Drop(1),
            (_, Some(_)) => Edit::Insert(1),
        };
        if !matches!(edit, Edit::Insert(_)) {
            left.next();
        }
        if !matches!(edit, Edit::Drop(_)) {
            right.next();
        }
        match (edits.last_mut(), edit) {
            (Some(Edit::Keep(count)), Edit::Keep(_))
            | (Some(Edit::Drop(count)), Edit::Drop(_))
            | (Some(Edit::Insert(count)), Edit::Insert(_))
            | (Some(Edit::Change(count)), Edit::Change(_)) => *count += 1,
            _ => edits.push(edit),
        }
    }
}

/// Appends what turns one list into another; what comes is written by `item`.
pub(crate) fn encode<T: Item, A: Borrow<T>>(
    out: &mut Vec<u8>,
    old: impl Iterator<Item = A>,
    new: impl Iterator<Item = A> + Clone,
    item: impl Fn(&mut Vec<u8>, &T),
) {
    let edits = between(old, new.clone());
    put(out, edits.len() as u64);
    let mut coming = new;
    for edit in edits {
        let (code, count) = match edit {
            Edit::Keep(count) => (0, count),
            Edit::Drop(count) => (1, count),
            Edit::Insert(count) => (2, count),
            Edit::Change(count) => (3, count),
        };
        put(out, (count as u64) << 2 | code);
        match edit {
            Edit::Insert(_) => coming.by_ref().take(count).for_each(|one| item(out, one.borrow())),
            Edit::Keep(_) | Edit::Change(_) => coming.by_ref().take(count).for_each(drop),
            Edit::Drop(_) => {}
        }
    }
}

/// Reads a change of `old`, and gives its runs; each item of the list after it is given to `push`, `most` of them.
pub(crate) fn decode<'a, T: Item>(
    cursor: &mut Cursor<'a>,
    old: impl Iterator<Item = T>,
    most: usize,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<T, Malformed>,
    mut push: impl FnMut(T) -> Result<(), Malformed>,
) -> Result<Vec<Edit>, Malformed> {
    let mut edits = Vec::new();
    let mut rest = old.fuse();
    let mut room = most;
    for _ in 0..cursor.count(1)? {
        let head = cursor.number()?;
        let count = usize::try_from(head >> 2).map_err(|_| Malformed("a number out of range"))?;
        let edit = match head & 3 {
            0 => Edit::Keep(count),
            1 => Edit::Drop(count),
            2 => Edit::Insert(count),
            _ => Edit::Change(count),
        };
        if matches!(edit, Edit::Insert(_)) && count > cursor.left() {
            return Err(Malformed("a count of more than there is"));
        }
        if !matches!(edit, Edit::Drop(_)) {
            room = room.checked_sub(count).ok_or(Malformed("more than a region has"))?;
        }
        for _ in 0..count {
            if matches!(edit, Edit::Insert(_)) {
                push(item(cursor)?)?;
                continue;
            }
            let mut one = rest.next().ok_or(Malformed("a change of more than there was"))?;
            if matches!(edit, Edit::Change(_)) {
                one.change();
            }
            if !matches!(edit, Edit::Drop(_)) {
                push(one)?;
            }
        }
        edits.push(edit);
    }
    if rest.next().is_some() {
        return Err(Malformed("a change of less than there was"));
    }
    Ok(edits)
}
