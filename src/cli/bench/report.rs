//! Results on a file, as a table or JSON.

use super::cost::Cost;
use super::outcome::{BenchOutcome, Own, Profiles};
use crate::cli::size::{figure, grouped};
use crate::profile::Part;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Results of all programs on one file.
pub struct BenchReport {
    pub name: String,
    pub plain_len: u64,
    pub outcomes: Vec<BenchOutcome>,
    /// Programs that are not installed.
    pub missing: Vec<&'static str>,
}

impl BenchReport {
    /// Returns the report as JSON (docs/cli.md). `cpu`, `isa`: names of processor and instruction
    /// set.
    pub fn to_json(&self, cpu: &str, isa: &str) -> Value {
        let outcome = |outcome: &BenchOutcome| {
            let mut value = json!(outcome);
            value["ratio"] = json!(outcome.ratio(self.plain_len));
            value["bits_per_byte"] = json!(outcome.bits_per_byte(self.plain_len));
            value
        };
        json!({
            "name": self.name,
            "plain_len": self.plain_len,
            "cpu": cpu,
            "isa": isa,
            "results": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "missing": self.missing,
        })
    }

    /// Prints a human-readable table, and the profile of llmzip.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {} bytes", self.name, grouped(self.plain_len))?;
        let commands = self.outcomes.iter().map(|outcome| outcome.command.chars().count());
        let width = commands.max().unwrap_or(0);
        let rows = ["", "compress KB/s", "decompress KB/s", "peak MB"];
        writeln!(
            out,
            "{:width$} {:>13} {:>6} {:>17} {:>17} {:>11}",
            rows[0], "", "bits/", rows[1], rows[2], rows[3]
        )?;
        let rates = ["wall", "cpu", "wall", "cpu"].map(|name| format!("{name:>8}")).join(" ");
        let peaks = format!("{:>5} {:>5}", "in", "out");
        writeln!(out, "{:width$} {:>13} {:>6} {rates} {peaks}", "", "bytes", "byte")?;
        self.outcomes.iter().try_for_each(|outcome| self.print_outcome(out, outcome, width))?;
        for program in &self.missing {
            writeln!(out, "skipped: there is no {program} here")?;
        }
        let own = self.outcomes.iter().find_map(|outcome| outcome.own.as_ref());
        match own {
            Some(Own { profile: Some(profiles), threads, .. }) => {
                print_profiles(out, profiles, *threads)
            }
            _ => Ok(()),
        }
    }

    fn print_outcome(
        &self,
        out: &mut dyn Write,
        outcome: &BenchOutcome,
        width: usize,
    ) -> io::Result<()> {
        if let Some(problem) = &outcome.problem {
            return writeln!(out, "{:width$} FAILED: {problem}", outcome.command);
        }
        let bytes = outcome.archive_len.map_or("-".into(), grouped);
        let bits = figure(outcome.bits_per_byte(self.plain_len), 3);
        write!(out, "{:width$} {bytes:>13} {bits:>6}", outcome.command)?;
        let costs = [outcome.compress, outcome.decompress];
        let rate = |seconds: f64| self.plain_len as f64 / seconds.max(1e-9) / 1e3;
        for seconds in costs
            .iter()
            .flat_map(|cost| [cost.map(|cost: Cost| cost.wall_s), cost.map(|cost| cost.cpu_s)])
        {
            let rate = seconds.map(rate);
            let decimals = if rate.is_some_and(|rate| rate < 100.0) { 1 } else { 0 };
            write!(out, " {:>8}", figure(rate, decimals))?;
        }
        for cost in costs {
            let peak = cost.and_then(|cost| cost.peak_rss).map(|peak| peak as f64 / 1e6);
            write!(out, " {:>5}", figure(peak, 0))?;
        }
        writeln!(out)
    }
}

fn print_profiles(out: &mut dyn Write, profiles: &Profiles, threads: usize) -> io::Result<()> {
    writeln!(
        out,
        "\nllmzip, time of working threads by part (at most {threads} threads), percent"
    )?;
    writeln!(out, "{:10} {:>8} {:>10}", "", "compress", "decompress")?;
    let (there, back) = (&profiles.compress, &profiles.decompress);
    for part in Part::COUNTED {
        let name = part.name();
        let share = |percent: Option<&f64>| figure(percent.copied(), 1);
        let (there, back) = (share(there.percent.get(name)), share(back.percent.get(name)));
        writeln!(out, "{name:10} {there:>8} {back:>10}")?;
    }
    writeln!(out, "{:10} {:>8} {:>10}", "samples", there.samples, back.samples)
}
