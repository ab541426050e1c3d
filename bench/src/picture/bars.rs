//! Horizontal bars in groups, each with its median written beside it and a line from minimum to maximum.

use super::canvas::{Anchor, Canvas, MARGIN, TOP, WIDTH, thousands};
use crate::statistics::Summary;

const BAR: f64 = 22.0;
const BAR_STEP: f64 = 31.0;
const HEADING: f64 = 24.0;
const GROUP_GAP: f64 = 20.0;
/// Where the bars begin and where the longest of them ends.
const BARS_LEFT: f64 = MARGIN + 118.0;
const BARS_RIGHT: f64 = WIDTH - MARGIN - 68.0;

pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) bars: Vec<Bar>,
}

pub(crate) struct Bar {
    pub(crate) label: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) summary: Summary,
}

pub(crate) fn draw(title: &str, subtitle: &str, groups: &[Group]) -> String {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = TOP + groups.len() as f64 * (HEADING + GROUP_GAP) + bars as f64 * BAR_STEP;
    let mut canvas = Canvas::new(height, title, subtitle);
    let mut y = TOP + 8.0;
    for group in groups {
        canvas.heading(MARGIN, y + 4.0, group.title);
        y += HEADING - 6.0;
        // Each group has its own scale: they are of different size, and compared within.
        let most = group.bars.iter().map(|bar| bar.summary.max).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| BARS_LEFT + (BARS_RIGHT - BARS_LEFT) * value / most;
        for bar in &group.bars {
            let middle = y + BAR / 2.0;
            let Summary { min, median, max } = bar.summary;
            canvas.text(BARS_LEFT - 10.0, middle + 4.5, bar.label, Anchor::End);
            canvas.bar(BARS_LEFT, y, x(median) - BARS_LEFT, BAR, bar.colour);
            if max > min {
                canvas.dark_line((x(min), middle), (x(max), middle));
                for end in [min, max] {
                    canvas.dark_line((x(end), middle - 4.0), (x(end), middle + 4.0));
                }
            }
            canvas.text(x(max) + 9.0, middle + 4.5, &thousands(median), Anchor::Start);
            y += BAR_STEP;
        }
        y += GROUP_GAP + 6.0;
    }
    canvas.finish()
}
