//! Small charts without axes, as SVG.

use std::fmt::Write as _;

use maud::{Markup, html};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;
/// The distance of lines from the upper and lower border.
const MARGIN: f64 = 2.0;

/// A line of a chart. `None` where a figure is unknown.
pub struct Line {
    pub class: &'static str,
    pub values: Vec<Option<f64>>,
}

/// A chart of lines with a common scale from zero. `label` says the same in words. The newest value is at the right
/// border, and `length` values fill the width.
pub fn chart(label: &str, lines: &[Line], length: usize) -> Markup {
    let known = lines.iter().flat_map(|line| line.values.iter().flatten());
    let most = known.copied().fold(0.0, f64::max);
    let height = HEIGHT - 2.0 * MARGIN;
    let y = |value: f64| match most > 0.0 {
        true => HEIGHT - MARGIN - value / most * height,
        false => HEIGHT - MARGIN,
    };
    html! {
        svg class="chart" role="img" aria-label=(label) viewBox=(format!("0 0 {WIDTH} {HEIGHT}"))
            preserveAspectRatio="none" {
            title { (label) }
            @for line in lines {
                path class=(line.class) d=(path(&line.values, length, y)) {}
            }
        }
    }
}

fn path(values: &[Option<f64>], length: usize, y: impl Fn(f64) -> f64) -> String {
    let step = WIDTH / length.max(2).saturating_sub(1) as f64;
    let mut path = String::new();
    let mut command = 'M';
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else {
            command = 'M';
            continue;
        };
        let x = WIDTH - (values.len() - 1 - at) as f64 * step;
        _ = write!(path, "{command}{x:.1} {:.1}", y(*value));
        command = 'L';
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_at_the_right_and_the_greatest_at_the_top() {
        let path = path(&[Some(0.0), None, Some(1.0), Some(2.0)], 7, |value| value);
        assert_eq!(path, "M60.0 0.0M100.0 1.0L120.0 2.0");
        let line = Line {
            class: "lag",
            values: vec![Some(5.0), Some(10.0)],
        };
        let svg = chart("<lag>", &[line], 2).into_string();
        assert!(svg.contains(r#"d="M0.0 14.0L120.0 2.0""#), "{svg}");
        assert!(
            svg.contains("&lt;lag&gt;") && !svg.contains("<lag>"),
            "{svg}"
        );
    }

    #[test]
    fn a_chart_of_nothing_is_flat() {
        let line = |values| Line {
            class: "lag",
            values,
        };
        let svg = chart("", &[line(vec![Some(0.0), Some(0.0)]), line(Vec::new())], 3);
        assert!(svg.into_string().contains("L120.0 26.0"));
    }
}
