//! Plot of bits per byte over the steps of a run.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 48.0;

/// Plots bits per byte of training and held-out data over steps, as SVG.
pub fn svg(curve: &[(u64, f64, f64)]) -> String {
    let last = curve.last().map_or(1, |point| point.0).max(1) as f64;
    let values = curve.iter().flat_map(|point| [point.1, point.2]);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), y| (l.min(y), h.max(y)));
    let (low, high) = if low < high { (low, high.min(low + 4.0)) } else { (0.0, 1.0) };
    let x = |step: u64| MARGIN + (WIDTH - 2.0 * MARGIN) * step as f64 / last;
    let y = |bits: f64| {
        let share = ((bits - low) / (high - low)).min(1.0);
        HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * share
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for i in 0..=4 {
        let bits = low + (high - low) * f64::from(i) / 4.0;
        let (at, right) = (y(bits), WIDTH - MARGIN);
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"8\" y=\"{at:.1}\">{bits:.2}</text>"
        );
    }
    type Column = fn(&(u64, f64, f64)) -> f64;
    let lines: [(&str, &str, Column); 2] =
        [("learned", "#999", |p| p.1), ("held out", "#c03", |p| p.2)];
    for (i, (name, colour, value)) in lines.into_iter().enumerate() {
        let points = curve.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(value(p))));
        let points: Vec<String> = points.collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
            points.join(" "),
            WIDTH - MARGIN - 60.0,
            MARGIN + 16.0 * i as f64
        );
    }
    let (middle, bottom) = (WIDTH / 2.0, HEIGHT - 16.0);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">steps, to {last}</text>\
         <text x=\"8\" y=\"20\">bits per byte</text>\n</svg>"
    );
    svg
}
