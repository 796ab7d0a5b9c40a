//! Two kinds of plots as SVG: latency by percentile, and latency by load.

use crate::broker::Side;
use crate::series::Line;
use crate::works::Work;
use hdrhistogram::Histogram;
use ottla::bench::Metric;
use plotters::prelude::*;
use std::io;

const SIZE: (u32, u32) = (760, 380);
/// Nines of the last percentile shown: 99.999 %.
const NINES_MAX: f64 = 5.0;
/// Points of a curve.
const POINTS: u32 = 200;

fn colour(side: Side) -> RGBColor {
    match side {
        Side::Ottla => RGBColor(0, 114, 178),
        Side::Kafka => RGBColor(213, 94, 0),
    }
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("plot: {error}"))
}

/// Latency by percentile of one line, all rounds of a broker together; `None` if there is none.
pub fn percentiles(line: &Line) -> io::Result<Option<String>> {
    let mut curves = Vec::new();
    for side in line.samples.keys() {
        let latencies = line.latencies(*side);
        if !latencies.is_empty() {
            curves.push((*side, curve(&latencies)));
        }
    }
    let values = || curves.iter().flat_map(|(_, points)| points).map(|(_, us)| *us);
    let (min, max) = (values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max));
    if curves.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("{}: latency by percentile", line.work.name()), ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..NINES_MAX, (min.max(1.0) * 0.8..max * 1.25).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_labels(6)
            .x_label_formatter(&|nines| percent(*nines))
            .y_label_formatter(&|us| time(*us))
            .x_desc("percentile")
            .y_desc("latency")
            .draw()
            .map_err(failed)?;
        for (side, points) in curves {
            let colour = colour(side);
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))
                .map_err(failed)?
                .label(side.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        legend(&mut chart)?;
        area.present().map_err(failed)?;
    }
    Ok(Some(svg))
}

/// Points in nines and microseconds.
fn curve(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    // Beyond one record in all of them there is nothing to see.
    let last = (latencies.len() as f64).log10().min(NINES_MAX);
    (0..=POINTS)
        .map(|point| {
            let nines = last * f64::from(point) / f64::from(POINTS);
            (nines, latencies.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64 / 1e3)
        })
        .collect()
}

fn percent(nines: f64) -> String {
    let value = 100.0 - 100.0 * 10_f64.powf(-nines);
    format!("{value:.*}%", (nines.round() as usize).saturating_sub(2))
}

fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", us / 1e6),
        us if us >= 1e3 => format!("{} ms", us / 1e3),
        us => format!("{us} us"),
    }
}

/// End-to-end latency of the lines with a fixed rate, by rate; `None` if there are fewer than two rates.
pub fn loads(lines: &[Line]) -> io::Result<Option<String>> {
    let rate = |line: &Line| match &line.work {
        Work::Case(case) if case.load.consumers == 1 => case.load.rate,
        _ => None,
    };
    let mut followed: Vec<_> = lines.iter().filter_map(|line| Some((rate(line)?, line))).collect();
    followed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut curves = Vec::new();
    for side in [Side::Ottla, Side::Kafka] {
        for (name, metric, width) in [("p50", Metric::EndToEnd50, 1), ("p99", Metric::EndToEnd99, 3)] {
            let points: Vec<_> = followed
                .iter()
                .filter_map(|(rate, line)| Some((*rate, line.median(side, metric)?)))
                .collect();
            if points.len() > 1 {
                curves.push((side, name, width, points));
            }
        }
    }
    let all = || curves.iter().flat_map(|(_, _, _, points)| points);
    let (Some((first, _)), Some((last, _))) = (followed.first(), followed.last()) else { return Ok(None) };
    if curves.is_empty() {
        return Ok(None);
    }
    let (min, max) = all().fold((f64::MAX, 1.0_f64), |(min, max), (_, us)| (min.min(*us), max.max(*us)));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption("1 KiB records, end to end: latency by load", ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(70)
            .build_cartesian_2d(
                (first * 0.9..last * 1.1).log_scale(),
                (min.max(1.0) * 0.8..max * 1.25).log_scale(),
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|rate| format!("{rate}"))
            .y_label_formatter(&|us| time(*us))
            .x_desc("records per second")
            .y_desc("latency")
            .draw()
            .map_err(failed)?;
        for (side, name, width, points) in curves {
            let style = colour(side).stroke_width(width);
            chart
                .draw_series(LineSeries::new(points.clone(), style))
                .map_err(failed)?
                .label(format!("{} {name}", side.name()))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            chart
                .draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour(side).filled())))
                .map_err(failed)?;
        }
        legend(&mut chart)?;
        area.present().map_err(failed)?;
    }
    Ok(Some(svg))
}

/// The names of the curves, in a corner.
fn legend<'a, X: Ranged, Y: Ranged>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> io::Result<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(failed)
}
