//! The figures for people and for docs/performance.md. Pure.

use serde::Serialize;

use super::compare::{Figures, Row};

/// Everything that one run of the task found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema_version: u32,
    /// Processor and number of cores.
    pub(super) machine: String,
    /// Programs and their versions, ours first.
    pub(super) versions: Vec<(String, String)>,
    pub(super) rows: Vec<Row>,
    pub(super) binary: Option<Size>,
}

/// The size of the binary that is shipped.
#[derive(Debug, Serialize)]
pub(super) struct Size {
    /// In MB, a million bytes each.
    pub(super) megabytes: f64,
    /// What it must stay under.
    pub(super) limit: f64,
}

impl Report {
    /// Everything that is not as it should be.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> = self
            .rows
            .iter()
            .flat_map(|row| row.broken.iter().map(move |broken| format!("{} {broken}", row.name)))
            .collect();
        if let Some(size) = self.binary.as_ref().filter(|size| size.megabytes >= size.limit) {
            broken.push(format!(
                "the release binary is {:.1} MB, must stay under {:.0}",
                size.megabytes, size.limit
            ));
        }
        broken
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "| what | ours | peer | ratio: shortest (median) | peak memory: ours, peer | requests: ours, peer | |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }

    pub(super) fn page(&self) -> String {
        let mut text = String::from(
            "<!-- Made by `cargo xtask bench --write`; changes here are lost. -->\n\
             # Performance\n\n\
             Whole processes, from start to end, in turn with the peer: one run of ours, one of the peer, the order \
             changing from round to round, so that both meet the same moods of the machine. The time is the shortest \
             of all runs, with the median in parentheses; memory is the largest resident set of any run. A missing \
             peer is an error. `cargo xtask bench` repeats it.\n\n",
        );
        text.push_str(&self.table());
        if let Some(size) = &self.binary {
            text.push_str(&format!(
                "\nThe release binary is {:.1} MB; it must stay under {:.0} MB.\n",
                size.megabytes, size.limit
            ));
        }
        text.push_str(&format!("\nMeasured on {}, with:\n\n", self.machine));
        for (program, version) in &self.versions {
            text.push_str(&format!("- {program}: {version}\n"));
        }
        text
    }
}

fn line(row: &Row) -> String {
    let time = |figures: &Figures| {
        format!("{} {} ({})", figures.what, seconds(figures.min), seconds(figures.median))
    };
    let peer = row.peer.as_ref().map_or_else(String::new, time);
    let ratio =
        row.ratio.map_or_else(String::new, |(min, median)| format!("{min:.2} ({median:.2})"));
    let mib = |figures: &Figures| match figures.peak_mib {
        none if none <= 0.0 => String::new(),
        peak => format!("{peak:.1} MiB"),
    };
    let memory = match &row.peer {
        Some(peer) if peer.peak_mib > 0.0 => format!("{}, {}", mib(&row.ours), mib(peer)),
        _ => mib(&row.ours),
    };
    let requests = row.requests.map_or_else(String::new, |(ours, peer)| format!("{ours}, {peer}"));
    let verdict = match (row.limits.is_empty(), row.broken.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "ok".to_owned(),
        (false, false) => format!("**{}**", row.broken.join("; ")),
    };
    format!(
        "| {} | {} | {peer} | {ratio} | {memory} | {requests} | {verdict} |\n",
        row.name,
        time(&row.ours)
    )
}

/// Three digits are all that a measurement of this kind knows.
fn seconds(value: f64) -> String {
    match value {
        small if small < 0.0995 => format!("{:.1} ms", small * 1000.0),
        middle if middle < 0.9995 => format!("{:.0} ms", middle * 1000.0),
        large => format!("{large:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Limit, row};
    use crate::measure::Sample;

    #[test]
    fn a_row_tells_time_ratio_memory_and_verdict() {
        let figures =
            |what: &str, seconds| Figures::of(what, &[Sample { seconds, peak_kib: 8192 }]);
        let ours = figures("`ours`", 0.004);
        let good =
            row("start", ours.clone(), Some(figures("`peer`", 0.008)), &[Limit::TimeRatio(1.0)]);
        assert_eq!(
            line(&good),
            "| start | `ours` 4.0 ms (4.0 ms) | `peer` 8.0 ms (8.0 ms) | 0.50 (0.50) | 8.0 MiB, 8.0 MiB |  | ok |\n"
        );
        assert!(line(&good.requests((1, 3))).contains("| 1, 3 | ok |"));
        let bad = row("start", ours, Some(figures("`peer`", 0.002)), &[Limit::TimeRatio(1.0)]);
        assert!(
            line(&bad).contains("**takes 2.00 times as long, may take 1.00**"),
            "{}",
            line(&bad)
        );
    }

    #[test]
    fn times_have_three_digits() {
        for (value, want) in [
            (0.00412, "4.1 ms"),
            (0.0999, "100 ms"),
            (0.25, "250 ms"),
            (1.0, "1.00 s"),
            (12.345, "12.35 s"),
        ] {
            assert_eq!(seconds(value), want);
        }
    }
}
