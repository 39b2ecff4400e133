//! Plots as inline SVG: lines over two scales, and bars.

use std::fmt::Write;

/// Size of a plot and its margins, in user units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// Height of a bar with the space around it, and where bars begin.
const BAR: f64 = 24.0;
const BAR_LEFT: f64 = 190.0;

/// Colours of the targets, in their order; readable on white and on black.
const COLOURS: [&str; 8] = ["#d9480f", "#1c7ed6", "#2f9e44", "#9c36b5", "#0c8599", "#e8a100", "#868e96", "#c2255c"];

/// The colour of the target with this number.
#[must_use]
pub(super) const fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// Text that HTML leaves alone.
#[must_use]
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A number with as many digits as are of use.
#[must_use]
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000_000.0 => format!("{:.2}M", value / 1e6),
        v if v >= 10_000.0 => format!("{:.0}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// From this to that, 0 among them.
    Span(f64, f64),
    /// Whole numbers from 0 to this.
    Counts(f64),
    /// Powers of ten, from this to that.
    Log(f64, f64),
    /// Parts of all by their nines: 0.9, 0.99, 0.999, up to this many.
    Nines(f64),
}

impl Scale {
    /// A linear one for these values.
    #[must_use]
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max);
        let step = step(most);
        Self::Linear(if most > 0.0 { (most / step).ceil() * step } else { 1.0 })
    }

    /// A linear one for these values, of which some may be below 0.
    #[must_use]
    pub(super) fn span(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        if low >= high {
            return Self::Span(0.0, 1.0);
        }
        let step = step(high - low);
        Self::Span((low / step).floor() * step, (high / step).ceil() * step)
    }

    /// A logarithmic one for these values; what is not above 0 is left out.
    #[must_use]
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.filter(|v| *v > 0.0).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return Self::Log(0.1, 1.0);
        }
        let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
        Self::Log(low, if high > low { high } else { low * 10.0 })
    }

    /// One of nines for these parts.
    #[must_use]
    pub(super) fn nines(parts: impl Iterator<Item = f64>) -> Self {
        // A hair less, so that rounding does not add a nine.
        Self::Nines((parts.map(nines).fold(1.0, f64::max) - 1e-6).ceil())
    }

    /// Where `value` is, from 0 to 1.
    #[must_use]
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear(most) | Self::Counts(most) => value / most,
            Self::Span(low, high) => (value - low) / (high - low),
            Self::Log(low, high) => (value.max(low) / low).log10() / (high / low).log10(),
            Self::Nines(most) => nines(value) / most,
        };
        place.clamp(0.0, 1.0)
    }

    /// Values to mark, and how they are written.
    #[must_use]
    pub(super) fn marks(self) -> Vec<(f64, String)> {
        match self {
            Self::Linear(most) => {
                let step = step(most);
                (0..=(most / step).round() as u32).map(|n| (f64::from(n) * step, number(f64::from(n) * step))).collect()
            }
            Self::Span(low, high) => {
                let step = step(high - low);
                let steps = ((high - low) / step).round() as u32;
                (0..=steps).map(|n| low + f64::from(n) * step).map(|value| (value, number(value))).collect()
            }
            Self::Counts(most) => {
                let step = step(most).max(1.0);
                (0..=(most / step) as u32).map(|n| f64::from(n) * step).map(|n| (n, format!("{n:.0}"))).collect()
            }
            Self::Log(low, high) => {
                let powers = (high / low).log10().round() as i32;
                (0..=powers).map(|n| low * 10_f64.powi(n)).map(|value| (value, power(value))).collect()
            }
            Self::Nines(most) => {
                let mut marks = vec![(0.5, "50 %".to_owned())];
                for n in 1..=most as i32 {
                    let part = 1.0 - 10_f64.powi(-n);
                    marks.push((part, format!("{:.*} %", (n - 2).max(0) as usize, part * 100.0)));
                }
                marks
            }
        }
    }
}

/// A power of ten.
fn power(value: f64) -> String {
    match value {
        v if v >= 999_999.0 => format!("{:.0}M", v / 1e6),
        v if v >= 999.0 => format!("{:.0}k", v / 1e3),
        v if v >= 0.999 => format!("{v:.0}"),
        v => format!("{v:.3}").trim_end_matches('0').to_owned(),
    }
}

fn nines(part: f64) -> f64 {
    -(1.0 - part.clamp(0.0, 0.999_999_9)).log10()
}

/// A round step of which a handful reach `most`.
fn step(most: f64) -> f64 {
    let rough = (most / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= rough).unwrap_or(power)
}

/// A line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// What it is.
    pub(super) name: String,
    /// Number of its target, for the colour.
    pub(super) target: usize,
    /// Its points.
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[must_use]
pub(super) fn lines(x: (&str, Scale), y: (&str, Scale), lines: &[Line]) -> String {
    let at_x = |value: f64| LEFT + x.1.place(value) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - y.1.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, text) in x.1.marks() {
        let (x, below) = (at_x(value), bottom + 16.0);
        let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{text}</text>");
    }
    for (value, text) in y.1.marks() {
        let (y, left) = (at_y(value), LEFT - 6.0);
        let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
        let _ = write!(svg, "<text x=\"{left}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", y + 4.0);
    }
    let (middle, low, half) = (f64::midpoint(LEFT, right), HEIGHT - 10.0, f64::midpoint(TOP, bottom));
    let _ = write!(svg, "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{}</text>", escaped(x.0));
    let _ = write!(
        svg,
        "<text x=\"14\" y=\"{half}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {half})\">{}</text>",
        escaped(y.0)
    );
    for line in lines {
        let colour = colour(line.target);
        let points: Vec<String> = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y))).collect();
        let _ =
            write!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>", points.join(" "));
        for (x, y) in &line.points {
            let (name, cx, cy) = (escaped(&line.name), at_x(*x), at_y(*y));
            let _ = write!(svg, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\" fill=\"{colour}\">");
            let _ = write!(svg, "<title>{name}: {} at {x}</title></circle>", number(*y));
        }
    }
    svg.push_str("</svg>");
    svg + &legend(lines.iter().map(|line| (line.target, line.name.as_str())))
}

fn legend<'a>(entries: impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut html = "<p class=\"legend\">".to_owned();
    for (target, name) in entries {
        let _ = write!(html, "<span><i style=\"background:{}\"></i>{}</span> ", colour(target), escaped(name));
    }
    html + "</p>"
}

/// A bar of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// What it is.
    pub(super) name: String,
    /// Number of its target, for the colour.
    pub(super) target: usize,
    /// Its length.
    pub(super) value: f64,
}

/// A plot of bars; `unit` is written behind each value.
#[must_use]
pub(super) fn bars(unit: &str, bars: &[Bar]) -> String {
    let height = BAR * bars.len() as f64;
    let scale = Scale::linear(bars.iter().map(|bar| bar.value));
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (n, bar) in bars.iter().enumerate() {
        let y = BAR * n as f64;
        // Room for the value behind the longest one.
        let width = scale.place(bar.value) * (WIDTH - BAR_LEFT - 110.0);
        let (base, end, left) = (y + 16.0, BAR_LEFT + width + 6.0, BAR_LEFT - 6.0);
        let _ = write!(svg, "<text x=\"{left}\" y=\"{base}\" text-anchor=\"end\">{}</text>", escaped(&bar.name));
        let _ = write!(
            svg,
            "<rect x=\"{BAR_LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>",
            y + 4.0,
            BAR - 8.0,
            colour(bar.target)
        );
        let _ = write!(svg, "<text x=\"{end:.1}\" y=\"{base}\">{} {}</text>", number(bar.value), escaped(unit));
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_reach_what_they_show() {
        assert_eq!(Scale::linear([3.0, 17.0].into_iter()), Scale::Linear(20.0));
        assert_eq!(Scale::log([0.3, 42.0].into_iter()), Scale::Log(0.1, 100.0));
        assert_eq!(Scale::log([0.0].into_iter()), Scale::Log(0.1, 1.0));
        assert!((Scale::Log(0.1, 100.0).place(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert!((Scale::Nines(4.0).place(0.99) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::Linear(20.0).place(50.0), 1.0);
        let marks: Vec<String> = Scale::Nines(4.0).marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(marks, ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        let marks: Vec<String> = Scale::Linear(20.0).marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(marks, ["0.00", "5.00", "10.0", "15.0", "20.0"]);
        assert_eq!(Scale::span([-3.0, 17.0].into_iter()), Scale::Span(-5.0, 20.0));
        assert_eq!(Scale::span(std::iter::empty()), Scale::Span(0.0, 1.0));
        assert!((Scale::Span(-5.0, 20.0).place(0.0) - 0.2).abs() < 1e-9);
        let marks: Vec<String> = Scale::Span(-5.0, 20.0).marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(marks, ["-5.00", "0.00", "5.00", "10.0", "15.0", "20.0"]);
        let marks: Vec<String> = Scale::Counts(3.0).marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(marks, ["0", "1", "2", "3"]);
    }

    #[test]
    fn numbers_are_short() {
        let numbers: Vec<String> = [0.5, 12.34, 456.7, 20_000.0, 1_040_000.0].into_iter().map(number).collect();
        assert_eq!(numbers, ["0.50", "12.3", "457", "20k", "1.04M"]);
        let powers: Vec<String> = Scale::Log(0.01, 1e6).marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(powers, ["0.01", "0.1", "1", "10", "100", "1k", "10k", "100k", "1M"]);
        assert_eq!(Scale::nines([0.99999].into_iter()), Scale::Nines(5.0));
    }

    #[test]
    fn names_cannot_become_markup() {
        let line = Line { name: "<b>&\"".to_owned(), target: 0, points: vec![(0.5, 1.0)] };
        let svg = lines(("x", Scale::Nines(2.0)), ("y", Scale::Linear(2.0)), &[line]);
        assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>"), "{svg}");
        assert!(bars("KiB", &[Bar { name: "a".into(), target: 1, value: 40.0 }]).contains("40.0 KiB"));
    }
}
