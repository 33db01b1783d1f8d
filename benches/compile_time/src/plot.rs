//! Figures as an SVG: seconds of processor time over handlers, both axes logarithmic.

use crate::measure::Job;
use crate::program::Bus;
use crate::report::Report;
use anyhow::{Result, anyhow};
use clap::ValueEnum;
use plotters::prelude::*;
use std::path::Path;

const SECONDS: std::ops::Range<f64> = 0.01..300.0;

struct Line {
    label: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

pub fn draw(report: &Report, file: &Path) -> Result<()> {
    let color = |i: usize| {
        const COLORS: [RGBColor; 11] = [
            RGBColor(0x60, 0x60, 0x60),
            RGBColor(0x00, 0x72, 0xb2),
            RGBColor(0x00, 0x9e, 0x73),
            RGBColor(0xe6, 0x9f, 0x00),
            RGBColor(0xcc, 0x79, 0xa7),
            RGBColor(0x56, 0xb4, 0xe9),
            RGBColor(0xd5, 0x5e, 0x00),
            RGBColor(0x00, 0x00, 0x00),
            RGBColor(0xb0, 0xb0, 0x00),
            RGBColor(0x8b, 0x45, 0x13),
            RGBColor(0x66, 0x33, 0x99),
        ];
        COLORS[i % COLORS.len()]
    };
    let line = |i, label: String, job, bus| Line {
        label,
        color: color(i),
        points: report
            .figures
            .iter()
            .filter(|f| f.job == job && f.bus == bus)
            .map(|f| (f.handlers as f64, f.cost.cpu))
            .collect(),
    };
    let by_bus = Bus::value_variants().iter().enumerate();
    let by_bus = by_bus.map(|(i, &bus)| line(i, bus.title().to_owned(), Job::Check, bus));
    let by_job = Job::value_variants().iter().enumerate();
    let by_job = by_job.map(|(i, &job)| line(i, job.title().replace('`', ""), job, Bus::Modules));

    let area = SVGBackend::new(file, (1000, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(500);
    panel(&left, "cargo check, by kind of bus", by_bus.collect())
        .and_then(|()| panel(&right, "modules of 40, by job", by_job.collect()))
        .map_err(|error| anyhow!("{error}"))?;
    area.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    lines: Vec<Line>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((8.0..1250.0).log_scale(), SECONDS.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("handlers")
        .y_desc("seconds of processor time over an empty program")
        .x_label_formatter(&|n| format!("{n}"))
        .y_label_formatter(&|s| format!("{s}"))
        .x_labels(8)
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .label_style(("sans-serif", 13))
        .draw()?;
    for Line {
        label,
        color,
        points,
    } in lines
    {
        if points.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}
