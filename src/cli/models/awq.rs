//! `models quantize --awq`: integers chosen for texts.

use super::command::ModelCommand;
use crate::cli::progress::{Display, bar};
use crate::cli::voice::Voice;
use crate::models::{Model, ModelFolder, QuantWeights, Quantization, RoundedWeights};
use crate::ops::ScalePrecision;
use crate::train::awq::{AwqOptions, AwqReport, round_for_texts};
use anyhow::Result;
use std::path::Path;

/// Parts of a bar.
const PARTS: u64 = 1000;

const BAR: &str = "{percent:>3}% [{bar:30}] {msg}{left}";

impl ModelCommand<'_> {
    /// Rounds the linear layers of the model in `folder` for `texts`; returns with them what became of each.
    pub fn round_for_texts(
        &self,
        folder: &Path,
        quantization: Quantization,
        texts: &[Vec<u8>],
        samples: usize,
    ) -> Result<(RoundedWeights, Vec<AwqReport>)> {
        let precisions = ModelFolder::find(folder)?.check_quantization(quantization)?;
        let QuantWeights::Int4(format) = quantization.weights else {
            unreachable!("only four bits are rounded for texts");
        };
        let group = format.group.expect("it has groups");
        let options = AwqOptions { group, pieces: samples };
        let model = Model::open(folder)?;
        let voice = self.session.voice;
        let display = Display::new(self.session.progress, voice, || bar(Some(PARTS), BAR));
        let mut reports = Vec::new();
        let mut watch = |report: &AwqReport| {
            show(&display, report, voice == Voice::Verbose && !self.json);
            reports.push(report.clone());
        };
        let precision = |name: &str| precisions.get(name).copied().unwrap_or(ScalePrecision::F32);
        let rounded = round_for_texts(&model, texts, &options, &precision, &mut watch)?;
        drop(display);
        if voice > Voice::Quiet && !self.json {
            let (nearest, rounded) = mean_errors(&reports);
            say!(
                "outputs of linear layers change by {rounded:.2} % on average, by {nearest:.2} % had they been \
                 rounded to the nearest"
            );
        }
        Ok((rounded, reports))
    }
}

/// The means over layers of the errors of outputs, in percent of their root mean square.
fn mean_errors(reports: &[AwqReport]) -> (f64, f64) {
    let mean = |error: fn(&AwqReport) -> f64| {
        100.0 * reports.iter().map(|report| error(report).sqrt()).sum::<f64>()
            / reports.len() as f64
    };
    (mean(|report| report.nearest), mean(|report| report.rounded))
}

/// Shows how far the work is, and with `details` what became of a layer.
fn show(display: &Display, report: &AwqReport, details: bool) {
    let AwqReport { module, nearest, rounded, share } = report;
    let line = || {
        let (rounded, nearest) = (100.0 * rounded.sqrt(), 100.0 * nearest.sqrt());
        format!("{module}: outputs change by {rounded:.2} %, to the nearest {nearest:.2} %")
    };
    match display {
        Display::Bar(bar) => {
            bar.set_position((share * PARTS as f64) as u64);
            bar.set_message(module.clone());
            if details {
                bar.suspend(|| say!("{}", line()));
            }
        }
        _ if details => say!("{}", line()),
        Display::Lines(last) if Display::line_is_due(last, false) => {
            say!("{:.0} %, {}", 100.0 * share, line());
        }
        _ => (),
    }
}
