//! In which waves a release goes to the applications of an environment: the next one begins when all of the one before are
//! proven, for as long as the proof has to hold; and how many are deployed at the same time. Pure.

use crate::config::Wave;

/// How many of so many applications are in each wave, in their order: each goes on from the one before, and the last one ends
/// with the last application. A wave that would have nobody is none. Without waves there is one.
pub(super) fn waves(waves: &[Wave], total: usize) -> Vec<usize> {
    let mut planned = Vec::new();
    let mut begin = 0;
    for end in waves.iter().map(|wave| end(*wave, total)).chain([total]) {
        if end > begin {
            planned.push(end - begin);
            begin = end;
        }
    }
    planned
}

/// How many applications have the release after a wave. A part of an application is a whole one.
fn end(wave: Wave, total: usize) -> usize {
    match wave {
        Wave::Count(count) => count.min(total),
        Wave::Percent(percent) => total.saturating_mul(percent.into()).div_ceil(100).min(total),
    }
}

/// So many applications are deployed at the same time before the first are proven: a release that is bad is bad for few.
const FIRST: usize = 4;

/// For each that is proven, so many more: fleets are reached in a few steps.
const GROWTH: usize = 4;

/// And never more. They wait for most of the time; that they do not all ask the server at once is up to its client.
const MOST: usize = 64;

/// How many applications are deployed at the same time, when so many of the promotion are proven.
pub(super) fn at_once(proven: usize) -> usize {
    proven.saturating_mul(GROWTH).clamp(FIRST, MOST)
}

/// How often the time of one deployment fits into a promotion at most, if all are proven.
pub(super) fn rounds(waves: &[usize]) -> u32 {
    let (mut rounds, mut proven) = (0, 0);
    for wave in waves {
        let end = proven + wave;
        while proven < end {
            proven = end.min(proven + at_once(proven));
            rounds += 1;
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_are_proven_the_more_are_deployed_at_the_same_time() {
        let cases = [(0, 4), (1, 4), (3, 12), (4, 16), (64, 64), (900, 64)];
        for (proven, want) in cases {
            assert_eq!(at_once(proven), want, "{proven}");
        }
        let cases: [(&[usize], u32); 6] = [
            (&[], 0),
            (&[4], 1),
            (&[8], 2),
            // 4, 16.
            (&[20], 2),
            // 1, then 4, and the last 7.
            (&[1, 11], 3),
            // 4, 16, and then 64 at a time.
            (&[1000], 18),
        ];
        for (waves, want) in cases {
            assert_eq!(rounds(waves), want, "{waves:?}");
        }
    }

    #[test]
    fn every_application_is_in_one_wave() {
        use Wave::{Count, Percent};
        let usual = [Count(1), Percent(25), Percent(100)];
        let cases: [(&[Wave], usize, &[usize]); 11] = [
            (&[], 3, &[3]),
            (&usual, 0, &[]),
            (&usual, 1, &[1]),
            (&usual, 2, &[1, 1]),
            (&usual, 4, &[1, 3]),
            (&usual, 5, &[1, 1, 3]),
            (&usual, 8, &[1, 1, 6]),
            (&usual, 50, &[1, 12, 37]),
            // What no wave names comes last.
            (&[Count(2)], 5, &[2, 3]),
            (&[Count(9), Percent(10)], 5, &[5]),
            (&[Percent(1)], 5, &[1, 4]),
        ];
        for (given, total, want) in cases {
            let planned = waves(given, total);
            assert_eq!(planned, want, "{given:?} {total}");
            assert_eq!(planned.iter().sum::<usize>(), total);
        }
    }
}
