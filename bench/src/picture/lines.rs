//! Lines over an axis, each named at its right end or in a legend.

use super::canvas::{Anchor, Canvas, MARGIN, TOP, WIDTH, round_step};

const HEIGHT: f64 = 400.0;
const LEFT: f64 = MARGIN + 52.0;
const RIGHT: f64 = WIDTH - MARGIN - 12.0;
const PLOT_TOP: f64 = TOP + 28.0;
const BOTTOM: f64 = HEIGHT - 64.0;
/// Lines with no more points than this show each of them.
const DOTS_MAX: usize = 15;

pub(crate) struct Line {
    pub(crate) label: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The horizontal axis; the vertical one begins at zero and finds its own round steps.
pub(crate) struct Axis<'a> {
    pub(crate) title: &'a str,
    pub(crate) ticks: Vec<(f64, String)>,
}

pub(crate) fn draw(
    title: &str,
    subtitle: &str,
    lines: &[Line],
    axis: &Axis,
    y_label: &dyn Fn(f64) -> String,
) -> String {
    let mut canvas = Canvas::new(HEIGHT, title, subtitle);
    let points = || lines.iter().flat_map(|line| &line.points);
    let most_y = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let step = round_step(most_y / 5.0);
    let steps = (most_y / step).ceil();
    let least_x = axis.ticks.first().map_or(0.0, |(x, _)| *x);
    let most_x = points().map(|(x, _)| *x).chain(axis.ticks.last().map(|(x, _)| *x)).fold(least_x, f64::max);
    let at = |x: f64, y: f64| {
        let across = (x - least_x) / (most_x - least_x).max(f64::MIN_POSITIVE);
        (LEFT + (RIGHT - LEFT) * across, BOTTOM - (BOTTOM - PLOT_TOP) * y / (steps * step))
    };

    let mut value = 0.0;
    while value <= steps * step * 1.001 {
        let (_, y) = at(least_x, value);
        canvas.grid_line((LEFT, y), (RIGHT, y));
        canvas.pale_text(LEFT - 10.0, y + 4.0, &y_label(rounded(value)), Anchor::End);
        value += step;
    }
    for (value, label) in &axis.ticks {
        let (x, _) = at(*value, 0.0);
        canvas.grid_line((x, PLOT_TOP), (x, BOTTOM + 5.0));
        canvas.pale_text(x, BOTTOM + 20.0, label, Anchor::Middle);
    }
    canvas.pale_text(f64::midpoint(LEFT, RIGHT), HEIGHT - 20.0, axis.title, Anchor::Middle);

    // Ours comes first and is drawn last, on top.
    for line in lines.iter().rev() {
        let points: Vec<_> = line.points.iter().map(|(x, y)| at(*x, *y)).collect();
        canvas.line(&points, line.colour);
        if points.len() <= DOTS_MAX {
            for (x, y) in points {
                canvas.dot(x, y, line.colour);
            }
        }
    }
    let mut x = LEFT;
    for line in lines {
        canvas.bar(x, TOP - 3.0, 14.0, 4.0, line.colour);
        canvas.coloured_text(x + 20.0, TOP + 4.0, line.label, line.colour);
        x += 48.0 + 7.6 * line.label.len() as f64;
    }
    canvas.finish()
}

/// Without the digits that adding steps brings.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
