//! An SVG with a title, and the few shapes that the pictures are made of. It brings its own
//! background, so that it reads the same on a light and on a dark page.

use std::fmt::Write;

pub(crate) const WIDTH: f64 = 760.0;
pub(crate) const MARGIN: f64 = 28.0;
/// Where the content below the titles begins.
pub(crate) const TOP: f64 = 84.0;

const INK: &str = "#0f172a";
const PALE_INK: &str = "#64748b";
const GRID: &str = "#e2e8f0";

pub(crate) struct Canvas {
    height: f64,
    title: String,
    shapes: String,
}

/// Which end of a text is at its point.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(crate) fn new(height: f64, title: &str, subtitle: &str) -> Canvas {
        let mut canvas = Canvas { height, title: title.to_owned(), shapes: String::new() };
        canvas.styled_text(MARGIN, 38.0, title, Anchor::Start, 18.0, INK, true);
        canvas.styled_text(MARGIN, 59.0, subtitle, Anchor::Start, 13.0, PALE_INK, false);
        canvas
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, text: &str, anchor: Anchor) {
        self.styled_text(x, y, text, anchor, 13.0, INK, false);
    }

    pub(crate) fn heading(&mut self, x: f64, y: f64, text: &str) {
        self.styled_text(x, y, text, Anchor::Start, 13.0, INK, true);
    }

    pub(crate) fn pale_text(&mut self, x: f64, y: f64, text: &str, anchor: Anchor) {
        self.styled_text(x, y, text, anchor, 12.0, PALE_INK, false);
    }

    pub(crate) fn coloured_text(&mut self, x: f64, y: f64, text: &str, colour: &str) {
        self.styled_text(x, y, text, Anchor::Start, 13.0, colour, true);
    }

    #[allow(clippy::too_many_arguments)] // the one place that knows all of a text's looks
    fn styled_text(
        &mut self,
        x: f64,
        y: f64,
        text: &str,
        anchor: Anchor,
        size: f64,
        colour: &str,
        bold: bool,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let text = escaped(text);
        let _ = writeln!(
            self.shapes,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{text}</text>"#
        );
    }

    pub(crate) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.shapes,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="3" fill="{colour}"/>"#
        );
    }

    pub(crate) fn grid_line(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.straight(from, to, GRID, 1.0);
    }

    pub(crate) fn dark_line(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.straight(from, to, INK, 1.5);
    }

    fn straight(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(
            self.shapes,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    pub(crate) fn line(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.shapes,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>"#,
            points.join(" ")
        );
    }

    pub(crate) fn dot(&mut self, x: f64, y: f64, colour: &str) {
        let _ = writeln!(self.shapes, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#);
    }

    pub(crate) fn finish(self) -> String {
        let Canvas { height, title, shapes } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" role=\"img\">\n\
             <title>{}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\" stroke=\"{GRID}\"/>\n{shapes}</svg>\n",
            escaped(&title)
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// 12345.6 -> 12,346
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The next of 1, 2, 5, 10, 20, 50… that is not less.
pub(crate) fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= least).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (value, text) in [(7.0, "7"), (999.6, "1,000"), (58_900.0, "58,900"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(thousands(value), text);
        }
    }

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.03, 0.05), (1.0, 1.0), (1.1, 2.0), (4.9, 5.0), (60.0, 100.0)] {
            assert!((round_step(least) - step).abs() < 1e-9, "{least} {}", round_step(least));
        }
    }

    #[test]
    fn text_cannot_end_a_tag() {
        let mut canvas = Canvas::new(100.0, "a < b & c", "");
        canvas.text(0.0, 0.0, "</svg>", Anchor::End);
        let svg = canvas.finish();
        assert!(svg.contains("a &lt; b &amp; c") && svg.matches("</svg>").count() == 1, "{svg}");
    }
}
