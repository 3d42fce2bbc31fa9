//! Draws that are the same in every run.

use passerby_actors::testkit::Random;

/// Draws of 0 to `count`, the `k`th as often as 1/(k+1)^0.99: a few readers come all the time, most hardly ever.
pub fn zipf(count: usize, draws: usize) -> Vec<u32> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-0.99);
            sum
        })
        .collect();
    let mut random = Random(1);
    let draw = |_| {
        let at = random.unit() * sum;
        sums.partition_point(|upto| *upto <= at).min(count - 1) as u32
    };
    (0..draws).map(draw).collect()
}
