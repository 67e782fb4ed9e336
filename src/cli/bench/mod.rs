//! `llmzip bench`: cost of compressing and decompressing files, by llmzip and by other programs.
//!
//! Other programs come first, while this process is small: the kernel counts for a child what its
//! parent had. Everything runs alone, one after the other, and is compared with the input.

pub mod args;
mod compare;
mod cost;
mod csv;
mod machine;
mod outcome;
mod peers;
mod report;
mod self_bench;

use super::exit::UsageError;
use super::failures::Failures;
use super::input::Input;
use super::json;
use super::names::shown;
use super::plan::Plan;
use super::session::CliSession;
use super::standard;
use super::voice::Voice;
use crate::archive::Options;
use anyhow::{Context, Result, anyhow, bail};
use args::BenchArgs;
use csv::Rows;
use outcome::BenchOutcome;
use report::BenchReport;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Measures every input of `plan`.
///
/// # Errors
/// Errors that end the run: no table to write to, standard output closed.
pub fn run(
    session: &CliSession,
    plan: &Plan,
    options: &Options,
    bench: &BenchArgs,
    failures: &mut Failures,
) -> Result<()> {
    let commit = bench.commit.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
    let open = |path: &PathBuf| Rows::open(path, commit, plan.isa.name()).context(shown(path));
    let rows = bench.csv.as_ref().map(open).transpose()?;
    let mut all = Bench { session, bench, rows, reports: Vec::new() };
    failures.each(&plan.inputs, |input| all.begin(input))?;
    for i in 0..all.reports.len() {
        all.measure_peers(i, failures)?;
    }
    for i in 0..all.reports.len() {
        all.measure_own(i, options, failures)?;
    }
    all.print(plan, failures)
}

/// State of the benchmark, with its results so far.
struct Bench<'a> {
    session: &'a CliSession,
    bench: &'a BenchArgs,
    rows: Option<Rows>,
    reports: Vec<(PathBuf, BenchReport)>,
}

impl Bench<'_> {
    /// Adds an input, which must be readable more than once.
    fn begin(&mut self, input: &Input) -> Result<()> {
        let Input::File(path) = input else {
            return Err(
                UsageError("a file is needed: the input is read more than once".into()).into()
            );
        };
        let path = path.canonicalize().context("cannot open")?;
        let metadata = path.metadata().context("cannot open")?;
        if !metadata.is_file() {
            bail!("is not a regular file; bench reads its input more than once");
        }
        let name = shown(path.file_name().map_or(&path, Path::new));
        let (plain_len, outcomes, missing) = (metadata.len(), Vec::new(), Vec::new());
        self.reports.push((path, BenchReport { name, plain_len, outcomes, missing }));
        Ok(())
    }

    fn measure_peers(&mut self, i: usize, failures: &mut Failures) -> Result<()> {
        for peer in &self.bench.against {
            self.say(i, peer.program());
            let (path, report) = &mut self.reports[i];
            match peer.run(path, self.bench.runs)? {
                None => report.missing.push(peer.program()),
                Some(outcome) => {
                    if let Some(problem) = &outcome.problem {
                        let error = anyhow!("{}: {problem}", outcome.program);
                        failures.note(report.name.clone(), &error);
                    }
                    self.add(i, outcome)?;
                }
            }
        }
        Ok(())
    }

    fn measure_own(&mut self, i: usize, options: &Options, failures: &mut Failures) -> Result<()> {
        self.say(i, "llmzip");
        let (path, report) = &self.reports[i];
        match self_bench::run(self.session, path, options, self.bench) {
            Ok(outcome) => self.add(i, outcome),
            Err(error) => {
                failures.note(report.name.clone(), &error);
                self.add(i, BenchOutcome::new("llmzip", "llmzip").failed(format!("{error:#}")))
            }
        }
    }

    fn add(&mut self, i: usize, outcome: BenchOutcome) -> Result<()> {
        let report = &mut self.reports[i].1;
        if let Some(rows) = &mut self.rows {
            rows.append(&report.name, report.plain_len, &outcome)?;
        }
        report.outcomes.push(outcome);
        Ok(())
    }

    fn say(&self, i: usize, program: &str) {
        if self.session.voice == Voice::Verbose {
            say!("{}: {program}", self.reports[i].1.name);
        }
    }

    fn print(&self, plan: &Plan, failures: &Failures) -> Result<()> {
        let cpu = machine::cpu_name();
        let reports = self.reports.iter().map(|(_, report)| report);
        if self.bench.json {
            let reports: Vec<_> = reports.map(|r| r.to_json(&cpu, plan.isa.name())).collect();
            return Ok(json::print("files", &reports, &failures.files)?);
        }
        let mut out = standard::lines()?;
        writeln!(out, "{cpu}, {}, {} threads", plan.isa.name(), plan.threads)?;
        for report in reports {
            writeln!(out)?;
            report.print(&mut out)?;
        }
        Ok(out.flush()?)
    }
}
