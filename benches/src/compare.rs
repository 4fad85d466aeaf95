//! From samples to figures and verdicts. Pure.

use serde::Serialize;

use super::measure::Sample;

const MIB: f64 = 1024.0;

/// What a figure must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    /// Our shortest time divided by the peer's.
    TimeRatio(f64),
    /// Our largest resident set divided by the peer's.
    MemoryRatio(f64),
    /// Our largest resident set, in MiB.
    PeakMib(f64),
    /// Our median, in milliseconds.
    Milliseconds(f64),
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) ours: Figures,
    pub(super) peer: Option<Figures>,
    /// Ratios of ours to the peer's: of the shortest times, and of the medians.
    pub(super) ratio: Option<(f64, f64)>,
    /// The requests of one run, ours and the peer's, where they are counted.
    pub(super) requests: Option<(usize, usize)>,
    pub(super) limits: Vec<Limit>,
    /// Which limits are not kept, in words.
    pub(super) broken: Vec<String>,
}

/// The figures of a series of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) what: String,
    pub(super) runs: usize,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) peak_mib: f64,
}

impl Figures {
    pub(super) fn of(what: &str, samples: &[Sample]) -> Figures {
        let mut seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let peak = samples.iter().map(|sample| sample.peak_kib).max().unwrap_or_default();
        Figures {
            what: what.to_owned(),
            runs: samples.len(),
            min: seconds.first().copied().unwrap_or(f64::NAN),
            median: median(&seconds),
            peak_mib: peak as f64 / MIB,
        }
    }
}

/// The middle of sorted values; of an even number, the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    match sorted {
        [] => f64::NAN,
        [.., last] if sorted.len() == 1 => *last,
        _ => (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0,
    }
}

/// Makes a row and judges it.
///
/// The shortest of many runs is what a program needs; everything above it is the machine's. So ratios are judged by
/// the shortest, and the medians stand beside it. Times in themselves are judged by the median.
pub(super) fn row(name: &str, ours: Figures, peer: Option<Figures>, limits: &[Limit]) -> Row {
    let ratio = peer.as_ref().map(|peer| (ours.min / peer.min, ours.median / peer.median));
    let broken = limits.iter().filter_map(|limit| broken(*limit, &ours, peer.as_ref())).collect();
    let (name, limits) = (name.to_owned(), limits.to_vec());
    Row { name, ours, peer, ratio, requests: None, limits, broken }
}

impl Row {
    /// Adds the requests of one run, ours and the peer's, and judges them: ours may not be more.
    pub(super) fn requests(mut self, (ours, peer): (usize, usize)) -> Row {
        self.requests = Some((ours, peer));
        if ours > peer {
            self.broken.push(format!("sends {ours} requests, may send {peer}"));
        }
        self
    }
}

fn broken(limit: Limit, ours: &Figures, peer: Option<&Figures>) -> Option<String> {
    // `!(a <= b)` and not `a > b`: what is not a number keeps no limit.
    let keeps = |value: f64, limit: f64| value <= limit;
    let ratio = |of: fn(&Figures) -> f64| peer.map_or(f64::NAN, |peer| of(ours) / of(peer));
    match limit {
        Limit::TimeRatio(most) => {
            let value = ratio(|figures| figures.min);
            (!keeps(value, most))
                .then(|| format!("takes {value:.2} times as long, may take {most:.2}"))
        }
        Limit::MemoryRatio(most) => {
            let value = ratio(|figures| figures.peak_mib);
            (!keeps(value, most))
                .then(|| format!("needs {value:.2} times as much memory, may need {most:.2}"))
        }
        Limit::PeakMib(most) => {
            let value = ours.peak_mib;
            (!keeps(value, most)).then(|| format!("needs {value:.1} MiB, may need {most:.0}"))
        }
        Limit::Milliseconds(most) => {
            let value = ours.median * 1000.0;
            (!keeps(value, most)).then(|| format!("takes {value:.0} ms, may take {most:.0}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(seconds: &[f64], peak_kib: u64) -> Vec<Sample> {
        seconds.iter().map(|&seconds| Sample { seconds, peak_kib }).collect()
    }

    #[test]
    fn figures_are_shortest_median_and_peak() {
        for (seconds, min, median) in [
            (&[3.0][..], 3.0, 3.0),
            (&[3.0, 1.0][..], 1.0, 2.0),
            (&[3.0, 1.0, 2.0][..], 1.0, 2.0),
            (&[4.0, 1.0, 2.0, 3.0][..], 1.0, 2.5),
        ] {
            let figures = Figures::of("x", &samples(seconds, 2048));
            assert_eq!(
                (figures.min, figures.median, figures.peak_mib),
                (min, median, 2.0),
                "{seconds:?}"
            );
        }
    }

    #[test]
    fn limits_are_kept_or_broken() {
        let ours = || Figures::of("ours", &samples(&[0.2, 0.3, 0.4], 33 * 1024));
        let peer = |seconds: f64| Some(Figures::of("peer", &samples(&[seconds], 1024)));
        let check = |peer: Option<Figures>, limit: Limit, want: usize| {
            assert_eq!(row("x", ours(), peer, &[limit]).broken.len(), want, "{limit:?}");
        };
        check(peer(0.2), Limit::TimeRatio(1.0), 0);
        check(peer(0.1), Limit::TimeRatio(1.0), 1);
        check(peer(0.1), Limit::TimeRatio(2.0), 0);
        check(None, Limit::TimeRatio(1.0), 1);
        check(peer(0.2), Limit::MemoryRatio(33.0), 0);
        check(peer(0.2), Limit::MemoryRatio(32.9), 1);
        check(None, Limit::MemoryRatio(33.0), 1);
        check(None, Limit::PeakMib(32.0), 1);
        check(None, Limit::PeakMib(33.0), 0);
        check(None, Limit::Milliseconds(300.0), 0);
        check(None, Limit::Milliseconds(299.0), 1);
    }

    #[test]
    fn ours_may_not_send_more_requests() {
        let figures = || Figures::of("x", &samples(&[0.2], 1024));
        for (requests, want) in [((1, 2), 0), ((2, 2), 0), ((3, 2), 1)] {
            let row = row("x", figures(), Some(figures()), &[]).requests(requests);
            assert_eq!(row.broken.len(), want, "{requests:?}");
        }
    }
}
