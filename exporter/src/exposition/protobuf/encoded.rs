//! What never changes of the messages of all series, and the metrics that are no more than that and one number.
//!
//! Called by `protobuf.rs`. Made once a plan, when the format is first asked for.

use prost::encoding::{encode_varint, encoded_len_varint};

use super::wire::{VALUE, bytes, fixed64, label};
use super::{as_f64, created};
use crate::exposition::body::{Body, Text};
use crate::label_block;
use crate::number::WIDTH;
use crate::plan::{Block, Plan, Source};
use crate::schema::{Family, Kind};
use crate::series::Stretch;
use crate::{Series, Snapshot};

/// What never changes of the messages of all series of a plan: of those with one number all up to it, of others the label pairs.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    arena: Vec<u8>,
    /// For each series, in the plan's order, how many bytes are its own.
    lengths: Vec<u32>,
    /// For each block where its labels begin and which length is its first.
    blocks: Vec<(usize, usize)>,
}

impl Encoded {
    pub(super) fn of(plan: &Plan, sources: &[Source]) -> Self {
        let mut encoded = Self::default();
        let mut labels = Vec::new();
        for block in &plan.blocks {
            encoded.blocks.push((encoded.arena.len(), encoded.lengths.len()));
            let schema = sources.get(block.source).map(|source| &source.snapshot.schema);
            let family = schema.and_then(|schema| schema.families.get(block.family));
            let Some((schema, family)) = schema.zip(family) else { continue };
            for series in schema.series.range(family.series.clone()) {
                labels.clear();
                for (name, value) in label_block::pairs(series.labels).chain(label_block::pairs(&block.region)) {
                    label(&mut labels, name, &label_block::unescaped(value));
                }
                let before = encoded.arena.len();
                encoded.series(family, &series, &labels);
                // Of strings that are none longer than 64 KiB.
                encoded.lengths.push((encoded.arena.len() - before) as u32);
            }
        }
        encoded.arena.shrink_to_fit();
        encoded.lengths.shrink_to_fit();
        encoded
    }

    fn series(&mut self, family: &Family, series: &Series<'_>, labels: &[u8]) {
        let out = &mut self.arena;
        let Some(field) = number_field(family.kind) else { return out.extend_from_slice(labels) };
        let mut after = Vec::new();
        if family.kind == Kind::Counter {
            created(&mut after, 3, series.created_realtime_ns);
        }
        let value = 1 + NUMBER + after.len();
        out.push(bytes(4));
        encode_varint((labels.len() + 1 + encoded_len_varint(value as u64) + value) as u64, out);
        out.extend_from_slice(labels);
        out.push(bytes(field));
        encode_varint(value as u64, out);
        out.push(fixed64(VALUE));
    }

    /// What there is of each series of a block; what follows it has none that are asked for.
    pub(super) fn of_block(&self, block: usize) -> impl Iterator<Item = Text<'_>> {
        let (mut at, first) = self.blocks.get(block).copied().unwrap_or_default();
        self.lengths.get(first..).unwrap_or_default().iter().map_while(move |len| {
            let text = Text { from: self.arena.get(at..)?, len: *len as usize };
            at += text.len;
            Some(text)
        })
    }
}

/// The field of a metric for a kind whose value is one number.
pub(super) const fn number_field(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Counter => Some(3),
        Kind::Gauge | Kind::UpDownCounter | Kind::Info | Kind::WatermarkMax | Kind::WatermarkMin => Some(2),
        Kind::HistogramBounds | Kind::HistogramExponential | Kind::StateSet => None,
    }
}

/// The metrics of one block, of a kind whose value is one number. How long they are is known before they are written.
pub(super) struct Scalars<'a> {
    encoded: &'a Encoded,
    index: usize,
    snapshot: &'a Snapshot,
    family: &'a Family,
}

/// Bytes of a number.
const NUMBER: usize = 8;

impl<'a> Scalars<'a> {
    pub(super) fn of(encoded: &'a Encoded, index: usize, block: &Block, source: &'a Source) -> Option<Self> {
        let family = source.snapshot.schema.families.get(block.family)?;
        Some(Self { encoded, index, snapshot: &source.snapshot, family })
    }

    fn stretches(&self) -> impl Iterator<Item = Stretch<'a>> {
        self.snapshot.schema.series.stretches(self.family.series.clone())
    }

    /// What stands behind the numbers of a stretch: when its series were created.
    fn created(&self, stretch: &Stretch<'_>) -> Vec<u8> {
        let mut after = Vec::new();
        if self.family.kind == Kind::Counter {
            created(&mut after, 3, stretch.created_realtime_ns());
        }
        after
    }

    pub(super) fn len(&self) -> usize {
        let after: usize =
            self.stretches().map(|stretch| stretch.len() * (NUMBER + self.created(&stretch).len())).sum();
        self.encoded.of_block(self.index).take(self.family.series.len()).map(|before| before.len).sum::<usize>() + after
    }

    pub(super) fn write(&self, body: &mut Body<'_>) {
        let mut before = self.encoded.of_block(self.index);
        for stretch in self.stretches() {
            let after = self.created(&stretch);
            let (mut behind, len) = ([0; WIDTH - NUMBER], after.len());
            if let Some(place) = behind.get_mut(..len) {
                place.copy_from_slice(&after);
            }
            let (cell, cells) = (stretch.cell(), stretch.cells());
            let numbers = (0..stretch.len() as u64)
                .map(|ahead| as_f64(self.snapshot.value_at(self.family, cell.wrapping_add(ahead * cells))));
            let metrics = numbers.zip(before.by_ref()).map(|(number, before)| (before, number));
            let nothing = Text { from: &[0; 32], len: 0 };
            body.lines(nothing, nothing, metrics, |place, number| {
                let (first, rest) = place.split_at_mut(NUMBER);
                first.copy_from_slice(&number.to_bits().to_le_bytes());
                rest.copy_from_slice(&behind);
                NUMBER + len
            });
        }
    }
}
