//! What stands in the ledger: the folded totals with the regions that they are of, and what was last shown of the regions that
//! stand. Written whole, and then as changes, each of which is all that became different at once: read back, all of it holds
//! or none.
//!
//! Called by `ledger/mod.rs`, which knows when, and with the bytes of `ledger/file.rs`, which knows where.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::folded::Folded;
use super::gone::Identity;
use super::picture::{change, identity, picture, put_changes, put_identity, put_picture, put_uuid, total_cells, uuid};
use crate::Snapshot;
use crate::recording::wire::{Cursor, Malformed, put};

/// What a part of a change tells.
const FOLDED: u64 = 1;
const STANDS: u64 = 2;
const VALUES: u64 = 3;
const GONE: u64 = 4;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) folded: Folded,
    pub(super) standing: BTreeMap<[u8; 16], (Identity, Vec<Snapshot>)>,
}

/// What the file holds of the regions that stand: what the next change starts from.
#[derive(Debug, Default)]
pub(super) struct OnFile {
    standing: BTreeMap<[u8; 16], Vec<Shown>>,
}

/// A picture that the file holds, and where its totals stand.
#[derive(Debug)]
struct Shown {
    picture: Arc<Snapshot>,
    cells: Arc<Vec<Range<usize>>>,
}

/// A region that stands, with the pictures that make it up.
pub(super) type Stands<'a> = (&'a Identity, &'a [Arc<Snapshot>]);

/// All of it.
pub(super) fn encode(folded: &mut Folded, standing: &[Stands<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    folded.put_whole(&mut out);
    put(&mut out, standing.len() as u64);
    standing.iter().for_each(|stands| put_stands(&mut out, *stands));
    out
}

fn put_stands(out: &mut Vec<u8>, (identity, pictures): Stands<'_>) {
    put_identity(out, identity);
    put(out, pictures.len() as u64);
    pictures.iter().for_each(|picture| put_picture(out, picture));
}

impl Content {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let mut content = Self::default();
        content.folded.read(&mut cursor)?;
        for _ in 0..cursor.count(1)? {
            content.stands(&mut cursor)?;
        }
        cursor.end()?;
        Ok(content)
    }

    /// Takes a change.
    pub(super) fn change(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(bytes);
        while cursor.left() > 0 {
            match cursor.number()? {
                FOLDED => self.folded.read(&mut cursor)?,
                STANDS => self.stands(&mut cursor)?,
                VALUES => {
                    let (_, pictures) =
                        self.standing.get_mut(&uuid(&mut cursor)?).ok_or(Malformed("values of no region"))?;
                    let index: usize = cursor.small()?;
                    let picture = pictures.get_mut(index).ok_or(Malformed("values of no picture"))?;
                    change(&mut cursor, &total_cells(&picture.schema), &mut picture.lane)?;
                }
                GONE => {
                    self.standing.remove(&uuid(&mut cursor)?).ok_or(Malformed("a region went that was not there"))?;
                }
                _ => return Err(Malformed("a part of no known kind")),
            }
        }
        Ok(())
    }

    fn stands(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        let identity = identity(cursor)?;
        let pictures = (0..cursor.count(1)?).map(|_| picture(cursor)).collect::<Result<Vec<_>, _>>()?;
        self.standing.insert(identity.uuid, (identity, pictures));
        Ok(())
    }
}

impl OnFile {
    /// What is different from what the file holds; empty where nothing is.
    pub(super) fn change(&self, folded: &Folded, standing: &[Stands<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        if folded.is_changed() {
            put(&mut out, FOLDED);
            folded.put_changed(&mut out);
        }
        let mut here = std::collections::HashSet::with_capacity(standing.len());
        for (identity, pictures) in standing {
            here.insert(identity.uuid);
            let same = |shown: &[Shown]| {
                let same = |(a, b): (&Shown, &Arc<Snapshot>)| Arc::ptr_eq(&a.picture.schema, &b.schema);
                shown.len() == pictures.len() && shown.iter().zip(*pictures).all(same)
            };
            let Some(shown) = self.standing.get(&identity.uuid).filter(|shown| same(shown)) else {
                put(&mut out, STANDS);
                put_stands(&mut out, (identity, pictures));
                continue;
            };
            for (index, (shown, now)) in shown.iter().zip(*pictures).enumerate() {
                let start = out.len();
                put(&mut out, VALUES);
                put_uuid(&mut out, identity.uuid);
                put(&mut out, index as u64);
                let head = out.len();
                if !Arc::ptr_eq(&shown.picture, now) {
                    put_changes(&mut out, &shown.cells, &shown.picture.lane, &now.lane);
                }
                if out.len() == head {
                    out.truncate(start);
                }
            }
        }
        for uuid in self.standing.keys().filter(|uuid| !here.contains(*uuid)) {
            put(&mut out, GONE);
            put_uuid(&mut out, *uuid);
        }
        out
    }

    /// The file holds these now. Gives back the pictures that it held before and that are not shown any more.
    pub(super) fn holds(&mut self, standing: &[Stands<'_>]) -> Vec<([u8; 16], Arc<Snapshot>)> {
        let mut before = std::mem::take(&mut self.standing);
        let mut replaced = Vec::new();
        for (identity, pictures) in standing {
            let uuid = identity.uuid;
            let mut held = before.remove(&uuid).unwrap_or_default().into_iter();
            let shown = pictures.iter().map(|picture| {
                let held = held.next().filter(|held| Arc::ptr_eq(&held.picture.schema, &picture.schema));
                let Some(held) = held else {
                    let cells = Arc::new(total_cells(&picture.schema));
                    return Shown { picture: Arc::clone(picture), cells };
                };
                let cells = Arc::clone(&held.cells);
                replaced.push((uuid, held.picture));
                Shown { picture: Arc::clone(picture), cells }
            });
            self.standing.insert(uuid, shown.collect());
        }
        replaced
    }
}
