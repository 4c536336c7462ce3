//! Lines over time as an SVG, each in a panel of its own from zero up.

use std::fmt::Write;

use oraculum_tests::Res;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 60.0;
const MARGIN: f64 = 30.0;

/// Points by time.
pub(crate) type Line<'a> = (&'a str, &'a [(f64, f64)]);

/// What is drawn.
pub(crate) struct Plot<'a> {
    /// What the time is counted in.
    pub(crate) x: &'a str,
    /// The panels from the top.
    pub(crate) lines: &'a [Line<'a>],
}

impl Plot<'_> {
    /// Prints the means of the quarters of the time, and draws the lines into a file, if one is given.
    pub(crate) fn report(&self, file: Option<&str>) -> Res<()> {
        println!("| mean of a quarter of the time | 1st | 2nd | 3rd | 4th |\n|---|---:|---:|---:|---:|");
        for (name, samples) in self.lines {
            let [a, b, c, d] = [0, 1, 2, 3].map(|from| {
                let part = &samples[samples.len() * from / 4..samples.len() * (from + 1) / 4];
                part.iter().map(|(_, value)| value).sum::<f64>() / part.len().max(1) as f64
            });
            println!("| {name} | {a:.1} | {b:.1} | {c:.1} | {d:.1} |");
        }
        if let Some(file) = file {
            std::fs::write(file, self.svg())?;
            println!("\nthe plot is in {file}");
        }
        Ok(())
    }

    fn svg(&self) -> String {
        let height = (HEIGHT + MARGIN) * self.lines.len() as f64 + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            WIDTH + LEFT + MARGIN
        );
        for (at, line) in self.lines.iter().enumerate() {
            self.panel(&mut svg, MARGIN + (HEIGHT + MARGIN) * at as f64, line);
        }
        svg + "</svg>\n"
    }

    fn panel(&self, svg: &mut String, top: f64, (name, points): &Line<'_>) {
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::MIN_POSITIVE, f64::max);
        let last = most(&mut points.iter().map(|point| point.0));
        // The next half of its power of ten above the highest.
        let highest = most(&mut points.iter().map(|point| point.1));
        let unit = 10f64.powf(highest.log10().floor()) / 2.0;
        let ceiling = (highest / unit).ceil() * unit;
        let bottom = top + HEIGHT;
        let path: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", LEFT + x / last * WIDTH, bottom - y / ceiling * HEIGHT))
            .collect();
        let right = LEFT + WIDTH;
        let _ = write!(
            svg,
            "<path d=\"M{LEFT},{top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.5\"/>\n\
             <text x=\"{LEFT}\" y=\"{}\">{name}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{ceiling}</text>\n\
             <text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
             <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{last:.0} {}</text>\n",
            path.join(" "),
            top - 6.0,
            LEFT - 6.0,
            top + 10.0,
            LEFT - 6.0,
            bottom + 14.0,
            self.x
        );
    }
}
