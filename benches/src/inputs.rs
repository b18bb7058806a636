//! What histograms are given to count: observations between 100 ns and 2 ks, in an order that no branch predictor learns.

/// How many inputs there are: a power of two, so that picking one is a mask.
const INPUTS: usize = 1 << 15;

static NANOSECONDS: [u64; INPUTS] = {
    let mut values = [0; INPUTS];
    let mut state = 17u64;
    let mut index = 0;
    while index < INPUTS {
        state = (state * 1_664_525 + 1_013_904_223) % (1 << 32);
        // Eight decades alike, and within a decade evenly spread.
        let decade = 100 * 10u64.pow((state >> 29) as u32);
        values[index] = decade + decade * 9 * ((state >> 8) % (1 << 16)) / (1 << 16);
        index += 1;
    }
    values
};

static SECONDS: [f64; INPUTS] = {
    let mut values = [0.0; INPUTS];
    let mut index = 0;
    while index < INPUTS {
        values[index] = NANOSECONDS[index] as f64 / 1e9;
        index += 1;
    }
    values
};

/// The observation of a step, in seconds.
#[inline]
pub(crate) fn seconds(step: u64) -> f64 {
    SECONDS[step as usize % INPUTS]
}

/// The same observation in whole nanoseconds.
#[inline]
pub(crate) fn nanoseconds(step: u64) -> u64 {
    NANOSECONDS[step as usize % INPUTS]
}

/// Upper bounds of the rows with bounds of their own: those that client libraries take by default, in seconds.
pub(crate) const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
