// Picking a series takes the label by value, so it must be Copy.
use tachograph::LabelValue;

#[derive(LabelValue)]
enum Outcome {
    Ok,
    Failed,
}

fn main() {}
