//! The ledger's file, `merge.ledger`: the folded totals, the regions that they are of, and what was last shown of those that
//! stand. Replaced as a whole: written beside, made durable, renamed, the directory made durable.
//!
//! `TACHOLDG`, version, CRC-32 of the rest, then little-endian words and texts with their lengths. One that does not read is
//! put aside, never written over. Reading makes no room for what is not there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::folded::{Folded, Identity, is_total, total};
use crate::schema::{Family, Kind, Number, Schema};
use crate::snapshot::cells_of;
use crate::{RegionInfo, Snapshot, label_block};

const MAGIC: &[u8; 8] = b"TACHOLDG";
const VERSION: u32 = 1;
/// Longest file that is read.
const LONGEST: u64 = 1 << 30;

/// What stands in the file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) folded: Folded,
    pub(crate) standing: Vec<(Identity, Vec<Arc<Snapshot>>)>,
}

pub(crate) fn encode(folded: &mut Folded, standing: &[(&Identity, &[Arc<Snapshot>])]) -> Vec<u8> {
    let mut out = Out(Vec::new());
    out.words(&[folded.floor_ns, folded.left_out, folded.count, folded.regions.len() as u64]);
    folded.regions.iter().for_each(|region| out.identity(region));
    let picture = folded.picture();
    out.picture(&picture);
    out.word(standing.len() as u64);
    for (identity, pictures) in standing {
        out.identity(identity);
        out.word(pictures.len() as u64);
        pictures.iter().for_each(|picture| out.picture(picture));
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&out.0).to_le_bytes());
    bytes.extend_from_slice(&out.0);
    bytes
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = path.with_extension("ledger.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

/// The ledger at this path; `None` where there is none yet.
pub(crate) fn read(path: &Path) -> io::Result<Option<Content>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(LONGEST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    decode(&bytes).map(Some).map_err(io::Error::other)
}

fn decode(bytes: &[u8]) -> Result<Content, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a ledger does")?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or("cut short")?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(format!("version {version}; this exporter knows version {VERSION}"));
    }
    let (checksum, rest) = rest.split_first_chunk::<4>().ok_or("cut short")?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return Err("its checksum is wrong: torn or damaged".to_owned());
    }
    let mut input = In(rest);
    content(&mut input).filter(|_| input.0.is_empty()).ok_or_else(|| "what stands in it makes no sense".to_owned())
}

fn content(input: &mut In<'_>) -> Option<Content> {
    let mut content = Content::default();
    let (floor_ns, left_out, count) = (input.word()?, input.word()?, input.word()?);
    for _ in 0..input.word()? {
        content.folded.regions.push(input.identity()?);
    }
    content.folded.add(&input.picture()?);
    (content.folded.floor_ns, content.folded.left_out, content.folded.count) = (floor_ns, left_out, count);
    for _ in 0..input.word()? {
        let identity = input.identity()?;
        let mut pictures = Vec::new();
        for _ in 0..input.word()? {
            pictures.push(Arc::new(input.picture()?));
        }
        content.standing.push((identity, pictures));
    }
    Some(content)
}

struct Out(Vec<u8>);

impl Out {
    fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    fn words(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.word(*word));
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn identity(&mut self, region: &Identity) {
        self.0.extend_from_slice(&region.uuid);
        self.text(&region.name);
        self.words(&[region.lineage_ns, region.restarts, region.created_ns]);
    }

    /// The totals of a picture.
    fn picture(&mut self, picture: &Snapshot) {
        let families = || picture.schema.families.iter().filter(|family| is_total(family.kind));
        self.word(families().count() as u64);
        for family in families() {
            [&family.name, &family.help, &family.unit, &family.label_names.join(",")]
                .into_iter()
                .for_each(|text| self.text(text));
            let wire = [u64::from(family.kind.to_wire()), u64::from(family.number.to_wire())];
            self.words(&wire);
            let range = [family.range.0.to_bits(), family.range.1.to_bits()];
            self.words(&[family.scale.to_bits(), i64::from(family.schema).cast_unsigned()]);
            self.words(&range);
            self.words(&[family.created_realtime_ns, family.bounds.len() as u64]);
            family.bounds.iter().for_each(|bound| self.word(bound.to_bits()));
            let all = picture.schema.series.get(family.series.clone()).unwrap_or_default();
            self.word(all.len() as u64);
            let cells = cells_of(family);
            for series in all {
                self.text(&series.labels);
                self.word(series.created_realtime_ns);
                let at = series.cell as usize;
                let from = picture.lane.get(at..at.saturating_add(cells)).unwrap_or_default();
                self.words(from);
                self.words(&vec![0; cells - from.len()]);
            }
        }
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn float(&mut self) -> Option<f64> {
        self.word().map(f64::from_bits)
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.word()?).ok()?;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn identity(&mut self) -> Option<Identity> {
        let uuid = self.take(16)?.try_into().ok()?;
        let name = self.text()?;
        Some(Identity { uuid, name, lineage_ns: self.word()?, restarts: self.word()?, created_ns: self.word()? })
    }

    fn picture(&mut self) -> Option<Snapshot> {
        let (mut schema, mut lane) = (Schema::default(), Vec::new());
        for index in 0..self.word()? {
            let (name, help, unit, label_names) = (self.text()?, self.text()?, self.text()?, self.text()?);
            let kind = Kind::from_wire(u32::try_from(self.word()?).ok()?).filter(|kind| is_total(*kind))?;
            let number = Number::from_wire(u32::try_from(self.word()?).ok()?)?;
            let mut family = Family { unit, ..Family::new(name, help, kind, number) };
            family.label_names = label_names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            (family.scale, family.schema) = (self.float()?, i32::try_from(self.word()?.cast_signed()).ok()?);
            family.range = (self.float()?, self.float()?);
            family.created_realtime_ns = self.word()?;
            for _ in 0..self.word()? {
                family.bounds.push(self.float()?);
            }
            let sound = label_block::is_metric_name(&family.name)
                && family.label_names.iter().all(|name| label_block::is_label_name(name));
            let (start, cells) = (schema.series.len(), cells_of(&family));
            for _ in 0..self.word()? {
                let (labels, created) = (self.text()?, self.word()?);
                schema.series.push(total(usize::try_from(index).ok()?, labels, created, lane.len(), cells));
                for _ in 0..cells {
                    lane.push(self.word()?);
                }
            }
            family.series = start..schema.series.len();
            schema.families.push(Some(family).filter(|_| sound)?);
        }
        Snapshot::from_parts(RegionInfo::default(), Arc::new(schema), lane, Vec::new()).ok()
    }
}
