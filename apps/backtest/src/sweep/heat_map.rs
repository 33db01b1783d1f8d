//! The heat map: the Sharpe ratio of all cells, from orange (loss) over white to blue (gain).

use plotters::{
    chart::{ChartBuilder, LabelAreaPosition},
    coord::combinators::BindKeyPoints,
    element::Rectangle,
    prelude::DrawingBackend,
    style::{BLACK, Color, RGBColor},
};

use super::{Cell, Range, best};
use crate::{
    output::Written,
    picture::{BAD, Canvas, Drawing, Drawn, GOOD, Picture, axes::number_label},
};

const SIZE: (u32, u32) = (900, 720);
/// Columns of pixels for the scale of colours, and the shades on it.
const SCALE: u32 = 110;
const SHADES: i32 = 96;
/// The maximum number of marks on an axis.
const MARKS: usize = 12;

/// The colour of a cell whose Sharpe ratio has no value.
const NO_VALUE: RGBColor = RGBColor(200, 200, 200);

pub fn write(
    picture: Picture,
    fast: &Range,
    slow: &Range,
    cells: &[Cell],
) -> Result<Written, String> {
    picture.draw(SIZE, &HeatMap::new(fast, slow, cells))
}

struct HeatMap<'a> {
    fast: Vec<usize>,
    slow: Vec<usize>,
    cells: &'a [Cell],
    best: Option<(&'a Cell, f64)>,
    /// The largest absolute ratio: the end of the colour scale.
    limit: f64,
}

impl<'a> HeatMap<'a> {
    fn new(fast: &Range, slow: &Range, cells: &'a [Cell]) -> Self {
        let ratios = cells.iter().filter_map(|cell| cell.figures.sharpe);
        let limit = ratios.map(f64::abs).fold(0.0, f64::max);
        Self {
            fast: fast.iter().collect(),
            slow: slow.iter().collect(),
            cells,
            best: best(cells),
            limit: if limit > 0.0 { limit } else { 1.0 },
        }
    }

    fn colour(&self, sharpe: f64) -> RGBColor {
        let share = (sharpe / self.limit).clamp(-1.0, 1.0);
        let (red, green, blue) = if share < 0.0 { BAD } else { GOOD };
        let mix = |end: u8| (255.0 + (f64::from(end) - 255.0) * share.abs()).round() as u8;
        RGBColor(mix(red), mix(green), mix(blue))
    }

    /// The corners of a cell. A cell is two units wide and high, so its centre is a whole number.
    fn corners(&self, cell: &Cell) -> [(i64, i64); 2] {
        let centre = |lengths: &[usize], length| {
            let place = lengths.binary_search(&length);
            2 * place.expect("a cell is of the grid") as i64
        };
        let (x, y) = (centre(&self.fast, cell.fast), centre(&self.slow, cell.slow));
        [(x - 1, y - 1), (x + 1, y + 1)]
    }

    fn title(&self) -> String {
        match self.best {
            Some((Cell { fast, slow, .. }, sharpe)) => format!(
                "Sharpe ratio of {} SMA pairs, best {sharpe:.2} at {fast}/{slow}",
                self.cells.len()
            ),
            None => format!(
                "Sharpe ratio of {} SMA pairs: none has a value",
                self.cells.len()
            ),
        }
    }

    fn draw_cells<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let axis = |lengths: &[usize]| {
            let marks = (0..lengths.len()).step_by(lengths.len().div_ceil(MARKS));
            let ends = -1..2 * lengths.len() as i64 - 1;
            ends.with_key_points(marks.map(|place| 2 * place as i64).collect())
        };
        let label = |lengths: &[usize], centre: i64| lengths[centre as usize / 2].to_string();
        let mut chart = ChartBuilder::on(canvas)
            .margin_right(24)
            .margin_top(14)
            .set_label_area_size(LabelAreaPosition::Left, 76)
            .set_label_area_size(LabelAreaPosition::Bottom, 60)
            .build_cartesian_2d(axis(&self.fast), axis(&self.slow))?;
        chart
            .configure_mesh()
            .disable_mesh()
            .label_style(("sans-serif", 16))
            .axis_desc_style(("sans-serif", 18))
            .x_desc("Fast average, closes")
            .y_desc("Slow average, closes")
            .x_label_formatter(&|centre| label(&self.fast, *centre))
            .y_label_formatter(&|centre| label(&self.slow, *centre))
            .draw()?;
        chart.draw_series(self.cells.iter().map(|cell| {
            let sharpe = cell.figures.sharpe;
            let colour = sharpe.map_or(NO_VALUE, |sharpe| self.colour(sharpe));
            Rectangle::new(self.corners(cell), colour.filled())
        }))?;
        chart.draw_series(
            self.best
                .iter()
                .map(|(cell, _)| Rectangle::new(self.corners(cell), BLACK.stroke_width(2))),
        )?;
        Ok(())
    }

    fn draw_scale<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let limit = self.limit;
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(14)
            .margin_bottom(60)
            .set_label_area_size(LabelAreaPosition::Right, 84)
            .build_cartesian_2d(0.0..1.0, -limit..limit)?;
        let edge = |shade: i32| limit * f64::from(2 * shade - SHADES) / f64::from(SHADES);
        chart.draw_series((0..SHADES).map(|shade| {
            let (low, high) = (edge(shade), edge(shade + 1));
            let colour = self.colour((low + high) / 2.0);
            Rectangle::new([(0.0, low), (1.0, high)], colour.filled())
        }))?;
        chart
            .configure_mesh()
            .disable_mesh()
            .disable_x_axis()
            .label_style(("sans-serif", 16))
            .axis_desc_style(("sans-serif", 18))
            .y_desc("Sharpe ratio")
            .y_label_formatter(&|value| number_label(*value, 2.0 * limit))
            .draw()
    }
}

impl Drawing for HeatMap<'_> {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let canvas = canvas.margin(10, 6, 12, 12);
        let canvas = canvas.titled(&self.title(), ("sans-serif", 24))?;
        let (width, _) = canvas.dim_in_pixel();
        let (cells, scale) = canvas.split_horizontally(width - SCALE);
        self.draw_cells(&cells)?;
        self.draw_scale(&scale)
    }
}
