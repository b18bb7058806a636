//! One family's record, checked: its meaning, its strings, its bounds.
//!
//! Called by the parser for each record. What is wrong with it is said in words and leaves out the family only.

use std::collections::HashSet;

use tachograph_layout::{FamilyRecord, SectionKind, StrRef, exponential_buckets, exponential_upper};

use super::{Parser, block};
use crate::schema::{Family, Kind, Number};
use crate::{contest, family_rules, label_block};

impl Parser<'_> {
    pub(super) fn checked_family(
        &mut self,
        record: &FamilyRecord,
        claims_of_others: [bool; 2],
    ) -> Result<Family, String> {
        let [outvoted, outnamed] = claims_of_others;
        self.check_record(record)?;
        let slots = block(record);
        if outvoted {
            return Err(format!("its series {}..{} overlap another family's", slots.start, slots.end));
        }
        let (kind, number, aggregation) = record.meaning().map_err(|error| error.to_string())?;
        family_rules::check_number(kind, number)?;
        let scale = f64::from_bits(record.scale);
        if !(scale.is_finite() && scale > 0.0) {
            return Err(format!("scale {scale} is no positive number"));
        }
        let mut family = Family {
            label_names: self.label_names(record)?,
            states: self.states(record, kind)?,
            unit: self.text(SectionKind::Strings, record.unit, "unit")?,
            help: self.text(SectionKind::Strings, record.help, "help")?,
            aggregation,
            scale,
            open: record.is_open(),
            created_realtime_ns: record.created_realtime_ns,
            ..Family::new(self.text(SectionKind::Strings, record.name, "name")?, String::new(), kind, number)
        };
        // Of other kinds these words mean nothing; a NaN among them would make the family differ from itself.
        if kind == Kind::HistogramExponential {
            family.schema = record.schema;
            family.range = (f64::from_bits(record.range_lower), f64::from_bits(record.range_upper));
        }
        family_rules::check_names(&family)?;
        if outnamed {
            return Err("its name is another family's".to_owned());
        }
        if let Some((name, other)) = family_rules::exposed(&family).find_map(|name| self.exposed.get_key_value(&name)) {
            if contest::is_own_name(record) && !other.is_own {
                self.outnamed.insert(other.index);
            }
            return Err(format!("shows {name}, as family {} does", other.name));
        }
        family.bounds = self.bounds(record, &family)?;
        Ok(family)
    }

    fn label_names(&mut self, record: &FamilyRecord) -> Result<Vec<String>, String> {
        let joined = self.text(SectionKind::Strings, record.label_names, "label names")?;
        self.budget.names(joined.bytes().filter(|byte| *byte == b',').count())?;
        let names: Vec<String> = joined.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.len() != record.label_count as usize || joined.is_empty() != names.is_empty() {
            return Err(format!("{} label names where it says {}", names.len(), record.label_count));
        }
        let mut seen = HashSet::new();
        match names.iter().find(|name| !label_block::is_label_name(name) || !seen.insert(name.as_str())) {
            Some(bad) => {
                Err(format!("{:?} is no label name, is reserved, or stands twice", family_rules::shortened(bad)))
            }
            None => Ok(names),
        }
    }

    fn states(&mut self, record: &FamilyRecord, kind: Kind) -> Result<Vec<String>, String> {
        if kind != Kind::StateSet {
            return Ok(Vec::new());
        }
        let joined = self.text(SectionKind::Strings, record.states, "states")?;
        let names = joined.strip_suffix('\0').ok_or("its state names do not end in a zero byte")?;
        let names: Vec<String> = names.split('\0').map(str::to_owned).collect();
        let distinct: HashSet<&String> = names.iter().collect();
        if names.len() > 64 || distinct.len() != names.len() || names.iter().any(String::is_empty) {
            return Err(format!("{} state names: at most 64, all different, none empty", names.len()));
        }
        Ok(names)
    }

    /// Upper bounds as shown.
    fn bounds(&mut self, record: &FamilyRecord, family: &Family) -> Result<Vec<f64>, String> {
        let count = match family.kind {
            Kind::HistogramBounds => u64::from(record.bounds_count),
            Kind::HistogramExponential => u64::from(record.cells_per_series.saturating_sub(2)),
            _ => return Ok(Vec::new()),
        };
        self.budget.bounds(count)?;
        let mut bounds = Vec::with_capacity(count as usize);
        if family.kind == Kind::HistogramExponential {
            let (lower, upper) = family.range;
            let (first, last) = exponential_buckets(family.schema, lower, upper).ok_or("its range makes no buckets")?;
            // As they are shown: the range and the buckets of an exponential histogram are not scaled.
            bounds.push(lower);
            bounds.extend((first..=last).map(|bucket| exponential_upper(family.schema, bucket)));
        } else {
            let section = self.sections.section(SectionKind::Bounds);
            let mut words = vec![0; count as usize];
            let copied = section.entry(record.bounds_index).and_then(|first| self.view.copy(first, &mut words));
            if copied.is_none() && count > 0 {
                return Err("its bounds are outside the file".to_owned());
            }
            bounds.extend(words.into_iter().map(|bits| {
                family.shown(match family.number {
                    Number::U64 => bits as f64,
                    Number::I64 => bits.cast_signed() as f64,
                    Number::F64 => f64::from_bits(bits),
                })
            }));
        }
        let ascending = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite());
        if ascending { Ok(bounds) } else { Err("its bounds are not ascending finite numbers".to_owned()) }
    }

    pub(super) fn text(&mut self, section: SectionKind, at: StrRef, field: &str) -> Result<String, String> {
        if at.len == 0 {
            return Ok(String::new());
        }
        let section = self.sections.section(section);
        let range = at.check(section.count).map_err(|error| format!("{field}: {error}"))?;
        let len = u64::from(at.len);
        self.budget.string(len)?;
        let bytes = self.view.bytes(section.offset + range.start, len);
        let bytes = bytes.ok_or_else(|| format!("{field}: outside the file"))?;
        String::from_utf8(bytes)
            .map_err(|error| format!("{field}: no UTF-8 after {} bytes", error.utf8_error().valid_up_to()))
    }
}
