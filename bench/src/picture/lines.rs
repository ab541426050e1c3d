//! Lines over two axes, with a legend.

use super::canvas::{Anchor, Canvas, MARGIN, TOP, WIDTH};

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

/// Reaches from its first tick to its last, or to the last point if that is further.
pub(crate) struct Axis {
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let least = self.ticks.first().map_or(0.0, |(value, _)| *value);
        let last = self.ticks.last().map_or(least, |(value, _)| *value);
        (least, values.fold(last, f64::max))
    }
}

pub(crate) fn draw(titles: (&str, &str), lines: &[Line], x_title: &str, x: &Axis, y: &Axis) -> String {
    let mut canvas = Canvas::new(HEIGHT, titles.0, titles.1);
    let points = || lines.iter().flat_map(|line| &line.points);
    let (least_x, most_x) = x.range(points().map(|(x, _)| *x));
    let (least_y, most_y) = y.range(points().map(|(_, y)| *y));
    let at = |x: f64, y: f64| {
        let across = (x - least_x) / (most_x - least_x).max(f64::MIN_POSITIVE);
        let up = (y - least_y) / (most_y - least_y).max(f64::MIN_POSITIVE);
        (LEFT + (RIGHT - LEFT) * across, BOTTOM - (BOTTOM - PLOT_TOP) * up)
    };

    for (value, label) in &y.ticks {
        let (_, y) = at(least_x, *value);
        canvas.grid_line((LEFT, y), (RIGHT, y));
        canvas.pale_text(LEFT - 10.0, y + 4.0, label, Anchor::End);
    }
    for (value, label) in &x.ticks {
        let (x, _) = at(*value, least_y);
        canvas.grid_line((x, PLOT_TOP), (x, BOTTOM + 5.0));
        canvas.pale_text(x, BOTTOM + 20.0, label, Anchor::Middle);
    }
    canvas.pale_text(f64::midpoint(LEFT, RIGHT), HEIGHT - 20.0, x_title, Anchor::Middle);

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
