//! Draws a run: the price with its trades, the equity, and the drawdown, one below the other.

use std::ops::Range;

use plotters::{
    chart::{ChartBuilder, ChartContext, LabelAreaPosition, SeriesLabelPosition},
    coord::{
        cartesian::Cartesian2d,
        combinators::{BindKeyPoints, WithKeyPoints},
        types::{RangedCoordf64, RangedCoordi64},
    },
    drawing::DrawingAreaErrorKind,
    element::{Circle, PathElement},
    prelude::DrawingBackend,
    series::{AreaSeries, LineSeries},
    style::{BLACK, Color, RGBColor, WHITE},
};
use trading::{Settings, bars::Bar, messages::TradeClosed, metrics::drawdowns};

use crate::{
    app::Outcome,
    output::Written,
    picture::{
        BAD, Canvas, Drawing, Drawn, GOOD, Picture,
        axes::{number_label, padded_range, thin, time_label, time_marks},
    },
};

const SIZE: (u32, u32) = (1200, 880);
/// Rows of pixels for the price with its trades, and for the equity; the drawdown has the rest.
const PRICE: u32 = 430;
const EQUITY: u32 = 180;
/// Columns of pixels before and after the lines, and rows below the drawdown's.
const LEFT: u32 = 96;
const RIGHT: u32 = 28;
const DATES: u32 = 56;

const LINE: RGBColor = RGBColor(60, 60, 60);
const WON: RGBColor = RGBColor(GOOD.0, GOOD.1, GOOD.2);
const LOST: RGBColor = RGBColor(BAD.0, BAD.1, BAD.2);

pub fn write(
    picture: Picture,
    bars: &[Bar],
    outcome: &Outcome,
    settings: &Settings,
) -> Result<Written, String> {
    picture.draw(SIZE, &Plot::new(bars, outcome, settings))
}

struct Plot<'a> {
    title: String,
    bars: &'a [Bar],
    trades: &'a [TradeClosed],
    times: Range<i64>,
    prices: Vec<(i64, f64)>,
    equity: Vec<(i64, f64)>,
    /// In percent of the highest equity so far; zero or negative.
    drawdown: Vec<(i64, f64)>,
}

impl<'a> Plot<'a> {
    fn new(bars: &'a [Bar], outcome: &'a Outcome, settings: &Settings) -> Self {
        let time = |bar: &Bar| bar.time.micros();
        let (first, last) = (time(&bars[0]), time(&bars[bars.len() - 1]));
        // A range needs a width, even for a single bar.
        let times = first..last.max(first + 1);
        let at_bars = |values: &[f64]| -> Vec<(i64, f64)> {
            bars.iter().map(time).zip(values.iter().copied()).collect()
        };
        let closes: Vec<f64> = bars.iter().map(|bar| bar.close).collect();
        let marks = &outcome.performance.marks;
        let equities: Vec<f64> = marks.iter().map(|mark| mark.equity).collect();
        let drawdowns: Vec<f64> = drawdowns(marks).collect();
        Self {
            title: format!(
                "SMA {}/{}: {} bars from {} to {}, {} trades",
                settings.fast,
                settings.slow,
                bars.len(),
                time_label(first, "%Y-%m-%d"),
                time_label(last, "%Y-%m-%d"),
                outcome.performance.figures.closed_trades,
            ),
            bars,
            trades: &outcome.performance.trades,
            prices: at_bars(&closes),
            equity: at_bars(&equities),
            drawdown: at_bars(&drawdowns),
            times,
        }
    }
}

impl Drawing for Plot<'_> {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let canvas = canvas.margin(10, 6, 12, 0);
        let canvas = canvas.titled(&self.title, ("sans-serif", 24))?;
        let (price, below) = canvas.split_vertically(PRICE);
        let (equity, drawdown) = below.split_vertically(EQUITY);
        self.draw_price(&price)?;
        self.draw_equity(&equity)?;
        self.draw_drawdown(&drawdown)
    }
}

type Chart<'a, DB> =
    ChartContext<'a, DB, Cartesian2d<WithKeyPoints<RangedCoordi64>, RangedCoordf64>>;

impl Plot<'_> {
    fn draw_price<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let trades = self.trades.iter();
        let traded = trades.flat_map(|trade| [trade.entry_price, trade.exit_price]);
        let closes = self.prices.iter().map(|point| point.1);
        let mut chart = self.chart(canvas, "Price", padded_range(closes.chain(traded)), 0)?;
        chart
            .draw_series(LineSeries::new(self.thin(&self.prices), LINE.mix(0.55)))?
            .label("close")
            .legend(|at| dash(at, LINE.mix(0.55), 1));

        for (name, colour, won) in [
            ("trade that won", WON, true),
            ("trade that lost", LOST, false),
        ] {
            let trades = || self.trades.iter().filter(|trade| (trade.pnl > 0.0) == won);
            chart
                .draw_series(trades().map(|trade| {
                    let ends = vec![
                        (self.time(trade.entry_bar), trade.entry_price),
                        (self.time(trade.exit_bar), trade.exit_price),
                    ];
                    PathElement::new(ends, colour.stroke_width(2))
                }))?
                .label(name)
                .legend(move |at| dash(at, colour, 2));
        }
        let entries = |long: bool| {
            let trades = self.trades.iter();
            trades
                .filter(move |trade| (trade.size > 0.0) == long)
                .map(|trade| (self.time(trade.entry_bar), trade.entry_price))
        };
        chart
            .draw_series(entries(true).map(|at| Circle::new(at, 2, BLACK.filled())))?
            .label("long entry")
            .legend(|(x, y)| Circle::new((x + 9, y), 3, BLACK.filled()));
        chart
            .draw_series(entries(false).map(|at| Circle::new(at, 2, BLACK.stroke_width(1))))?
            .label("short entry")
            .legend(|(x, y)| Circle::new((x + 9, y), 3, BLACK.stroke_width(1)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 15))
            .draw()
    }

    fn draw_equity<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let range = padded_range(self.equity.iter().map(|point| point.1));
        let mut chart = self.chart(canvas, "Equity", range, 0)?;
        chart.draw_series(LineSeries::new(self.thin(&self.equity), WON))?;
        Ok(())
    }

    fn draw_drawdown<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let range = padded_range(self.drawdown.iter().map(|point| point.1).chain([0.0]));
        let mut chart = self.chart(canvas, "Drawdown, %", range.start..0.0, DATES)?;
        let area = AreaSeries::new(self.thin(&self.drawdown), 0.0, LOST.mix(0.25));
        chart.draw_series(area.border_style(LOST))?;
        Ok(())
    }

    /// The axes of one of the three charts, with this many rows for the dates.
    fn chart<'a, DB: DrawingBackend + 'a>(
        &self,
        canvas: &'a Canvas<DB>,
        name: &str,
        values: Range<f64>,
        dates: u32,
    ) -> Result<Chart<'a, DB>, DrawingAreaErrorKind<DB::ErrorType>> {
        let (marks, format) = time_marks(&self.times);
        let span = values.end - values.start;
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(14)
            .margin_right(RIGHT)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, dates)
            .build_cartesian_2d(self.times.clone().with_key_points(marks), values)?;
        let label_dates = |time: &i64| time_label(*time, format);
        let label_values = |value: &f64| number_label(*value, span);
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(WHITE.mix(0.0))
            .bold_line_style(BLACK.mix(0.12))
            .label_style(("sans-serif", 15))
            .axis_desc_style(("sans-serif", 17))
            .y_labels(6)
            .y_desc(name)
            .y_label_formatter(&label_values)
            .x_label_formatter(&label_dates);
        if dates > 0 {
            mesh.x_desc("Date");
        }
        mesh.draw()?;
        Ok(chart)
    }

    fn thin(&self, points: &[(i64, f64)]) -> Vec<(i64, f64)> {
        thin(points, &self.times, (SIZE.0 - LEFT - RIGHT) as usize)
    }

    fn time(&self, bar: usize) -> i64 {
        self.bars[bar].time.micros()
    }
}

/// A line's entry in the legend.
fn dash((x, y): (i32, i32), colour: impl Color, width: u32) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(width))
}
