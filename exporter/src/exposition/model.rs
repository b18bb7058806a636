//! The data model of the `prometheus` crate: what a registry gathers and that crate's encoders write.
//!
//! Called by the collector. The model knows counters, gauges and classic histograms of binary64 numbers: an exponential
//! histogram has the buckets of the text formats, infos, state sets and all other levels are gauges, and there are no units
//! and no created timestamps. Series and values are those of text 0.0.4.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::protobuf::as_f64;
use super::selection::{Selection, families as planned};
use crate::Value;
use crate::distribution::{self, plus};
use crate::label_block;
use crate::plan::{Block, Op, Plan, Source};
use crate::schema::{Family, Kind};

/// All families of a plan that fits its sources.
pub(crate) fn families(plan: &Plan, sources: &[Source]) -> Vec<MetricFamily> {
    let all = Selection::default();
    planned(plan, sources, &all)
        .map(|(planned, family)| {
            let mut metrics = Vec::new();
            for block in plan.blocks.get(planned.blocks.clone()).unwrap_or_default() {
                if let Some(source) = sources.get(block.source) {
                    of_block(block, source, &mut metrics);
                }
            }
            let mut model = MetricFamily::default();
            model.set_name(family.name.clone());
            // As in text: there is no escape for it.
            model.set_help(family.help.replace('\r', " "));
            model.set_field_type(match family.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::HistogramBounds | Kind::HistogramExponential => MetricType::HISTOGRAM,
                _ => MetricType::GAUGE,
            });
            model.set_metric(metrics);
            model
        })
        .collect()
}

fn of_block(block: &Block, source: &Source, metrics: &mut Vec<Metric>) {
    let snapshot = &source.snapshot;
    let Some(family) = snapshot.schema.families.get(block.family) else { return };
    let all = snapshot.schema.series.range(family.series.clone());
    for series in all {
        let mut labels = pairs(series.labels);
        labels.extend(pairs(&block.region));
        match snapshot.value_at(family, series.cell) {
            Value::States(states) => {
                for (op, state) in block.ops.iter().zip(&family.states) {
                    let Op::State(bit) = op else { continue };
                    let on = states >> (*bit).min(63) & 1 == 1;
                    let mut labels = labels.clone();
                    labels.push(pair(&family.name, state));
                    metrics.push(gauge(labels, f64::from(u8::from(on))));
                }
            }
            Value::Histogram { buckets, sum } => {
                let mut metric = Metric::from_label(labels);
                metric.set_histogram(histogram(family, &block.ops, buckets, sum));
                metrics.push(metric);
            }
            value if family.kind == Kind::Counter => {
                let (mut metric, mut counter) = (Metric::from_label(labels), Counter::default());
                counter.set_value(as_f64(value));
                metric.set_counter(counter);
                metrics.push(metric);
            }
            value => metrics.push(gauge(labels, as_f64(value))),
        }
    }
}

fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let (mut metric, mut gauge) = (Metric::from_label(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

/// The bucket that ends at +Inf is left to the encoders: that crate's text has no right word for it but its own.
fn histogram(family: &Family, ops: &[Op], buckets: &[u64], sum: f64) -> Histogram {
    let (mut below, mut counted, mut shown) = (0_u64, 0, Vec::with_capacity(ops.len()));
    for op in ops {
        let Op::Bucket(index) = op else { continue };
        let end = *index as usize + 1;
        let more = buckets.get(counted..end).unwrap_or_default();
        below = more.iter().fold(below, |below, bucket| plus(below, *bucket));
        counted = end;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(below);
        bucket.set_upper_bound(family.bounds.get(*index as usize).copied().unwrap_or(f64::NAN));
        shown.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_sample_count(distribution::count(buckets));
    histogram.set_sample_sum(sum);
    histogram.set_bucket(shown);
    histogram
}

/// The pairs of a label block, as their author wrote them.
fn pairs(block: &str) -> Vec<LabelPair> {
    label_block::pairs(block).map(|(name, value)| pair(name, &label_block::unescaped(value))).collect()
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
