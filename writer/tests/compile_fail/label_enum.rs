// Enums that are no label.
use tachograph::LabelValue;

#[derive(Clone, Copy, LabelValue)]
enum WithFields {
    Ok,
    Failed(u32),
    Late { by: u32 },
}

#[derive(Clone, Copy, LabelValue)]
enum Nothing {}

#[derive(Clone, Copy, LabelValue)]
struct NoEnum;

#[derive(Clone, Copy, LabelValue)]
enum Generic<T> {
    Of(std::marker::PhantomData<T>),
}

fn main() {}
