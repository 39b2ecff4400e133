//! The report as one file that works offline: tables and plots of what a campaign found, nothing fetched from anywhere.

mod rounds;
mod svg;
mod table;

use crate::campaign::Findings;
use crate::report::{Report, Spread};
use svg::{Bar, Line, Scale, escaped};

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;font-size:13px;margin:1em 0}th,td{padding:3px 9px;text-align:right;border-bottom:1px solid #8884}\
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}small{opacity:.7}.bad{color:#e03131}\
svg{max-width:680px;width:100%;display:block}svg text{font:11px system-ui,sans-serif;fill:currentColor}.grid{stroke:#8884;fill:none}\
.legend span{margin-right:1.2em}.legend i{display:inline-block;width:12px;height:12px;margin-right:5px}";

/// The rounds of one scenario, rate and target.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    name: &'a str,
    target: &'a str,
    /// Number of the target, in the order in which they were run.
    number: usize,
    rate: f64,
    rounds: Vec<&'a Report>,
}

impl Group<'_> {
    /// The rounds that did not fail.
    fn counting(&self) -> impl Iterator<Item = &Report> {
        self.rounds.iter().copied().filter(|round| round.counts())
    }

    /// The median of a figure, and the lowest and highest; `None` where no round has it.
    fn median(&self, figure: impl Fn(&Report) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.counting().filter_map(figure))
    }

    /// The round in the middle, by its slowest hundredth.
    fn typical(&self) -> Option<&Report> {
        let mut rounds: Vec<&Report> = self.counting().collect();
        rounds.sort_by(|a, b| a.latency.p99_ms.total_cmp(&b.latency.p99_ms));
        rounds.get(rounds.len() / 2).copied()
    }

    /// The scenario, with its rate where it has one.
    fn title(&self) -> String {
        titled(self.name, self.rate)
    }
}

/// A scenario's name, with its rate where it has one.
fn titled(name: &str, rate: f64) -> String {
    if rate > 0.0 { format!("{name} at {} deliveries/s", svg::number(rate)) } else { name.to_owned() }
}

/// Groups the reports, in the order in which they came.
fn groups(reports: &[Report]) -> Vec<Group<'_>> {
    let mut targets: Vec<&str> = Vec::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for report in reports {
        let (name, target, rate) = (report.scenario.name.as_str(), report.target.as_str(), report.offered_per_s);
        let number = targets.iter().position(|known| *known == target).unwrap_or_else(|| {
            targets.push(target);
            targets.len() - 1
        });
        let same = |g: &&mut Group<'_>| g.name == name && g.target == target && (g.rate - rate).abs() < 0.5;
        match groups.iter_mut().find(same) {
            Some(group) => group.rounds.push(report),
            None => groups.push(Group { name, target, number, rate, rounds: vec![report] }),
        }
    }
    groups
}

/// The whole file.
#[must_use]
pub fn page(findings: &Findings) -> String {
    let groups = groups(&findings.reports);
    let machine = findings.reports.first().map(|report| report.machine.to_string()).unwrap_or_default();
    let sections = [
        table::figures(&groups),
        rounds::ratios(&findings.ratios, &groups),
        table::saturations(&findings.saturations, &findings.saturated),
        table::compared(&findings.compared),
        rounds::compared(&findings.compared),
        latency_curves(&groups),
        cpu(&groups),
        memory(&groups),
        rounds::growth(&groups),
        table::remarks(findings),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Starling under load</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n<body><h1>Starling under load</h1>\
         <p>{}. Latencies are from the time at which a send was due. Medians of the rounds; lowest and highest \
         in brackets. Rounds that failed are in none of them.</p>\n{}\n\
         </body></html>\n",
        escaped(&machine),
        sections.concat()
    )
}

/// One plot for each scenario and rate at which latencies were taken.
fn latency_curves(groups: &[Group<'_>]) -> String {
    let mut html = String::new();
    let mut titles: Vec<String> = groups.iter().map(Group::title).collect();
    titles.dedup();
    titles.sort_unstable();
    titles.dedup();
    for title in titles {
        let here = groups.iter().filter(|group| group.title() == title);
        let lines: Vec<Line> = here
            .filter_map(|group| {
                let points = group.typical()?.latency_curve.clone();
                let line = Line { name: group.target.to_owned(), target: group.number, points };
                (!line.points.is_empty()).then_some(line)
            })
            .collect();
        if lines.is_empty() {
            continue;
        }
        let points = || lines.iter().flat_map(|line| line.points.iter());
        let (x, y) = (Scale::nines(points().map(|point| point.0)), Scale::log(points().map(|point| point.1)));
        let plot = svg::lines(("part of all", x), ("latency, ms", y), &lines);
        html.push_str(&format!("<h3>{}</h3>{plot}\n", escaped(&title)));
    }
    if html.is_empty() { html } else { format!("<h2>Latency</h2>{html}") }
}

/// CPU a delivery by rate, where a scenario was run at several; else by target.
fn cpu(groups: &[Group<'_>]) -> String {
    let mut html = String::new();
    let mut names: Vec<&str> = groups.iter().map(|group| group.name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let mut lines: Vec<Line> = Vec::new();
        for group in groups.iter().filter(|group| group.name == name && group.rate > 0.0) {
            let Some(Spread { median: us, .. }) = group.median(|round| round.server_us_per_delivery) else { continue };
            match lines.iter_mut().find(|line| line.target == group.number) {
                Some(line) => line.points.push((group.rate, us)),
                None => {
                    let points = vec![(group.rate, us)];
                    lines.push(Line { name: group.target.to_owned(), target: group.number, points });
                }
            }
        }
        for line in &mut lines {
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let plot = if lines.iter().any(|line| line.points.len() > 1) {
            let points = || lines.iter().flat_map(|line| line.points.iter());
            let (x, y) = (Scale::log(points().map(|point| point.0)), Scale::linear(points().map(|point| point.1)));
            svg::lines(("deliveries a second, offered", x), ("server CPU, us a delivery", y), &lines)
        } else {
            let bar = |line: &Line| Bar { name: line.name.clone(), target: line.target, value: line.points[0].1 };
            svg::bars("us a delivery", &lines.iter().map(bar).collect::<Vec<_>>())
        };
        if !lines.is_empty() {
            html.push_str(&format!("<h3>{}</h3>{plot}\n", escaped(name)));
        }
    }
    if html.is_empty() { html } else { format!("<h2>Server CPU a delivery</h2>{html}") }
}

fn memory(groups: &[Group<'_>]) -> String {
    let bar = |group: &Group<'_>| {
        let bytes = group.median(|round| round.rss_per_connection)?.median;
        let sessions = group.rounds.first()?.scenario.sessions();
        let name = format!("{} ({sessions}), {}", group.name, group.target);
        Some(Bar { name, target: group.number, value: bytes / 1_024.0 })
    };
    // Of several rates the first: what connections take is asked, not what load takes.
    let first = |at: usize, group: &Group<'_>| {
        !groups[..at].iter().any(|other| other.name == group.name && other.number == group.number)
    };
    let firsts = groups.iter().enumerate().filter(|(at, group)| first(*at, group)).map(|(_, group)| group);
    let bars: Vec<Bar> = firsts.filter_map(bar).collect();
    if bars.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Memory a connection</h2><p><small>Scenario, number of connections, target. What the server's resident memory \
         grew by from its start to the beginning of the measurement: users, rooms, connections and the warm-up.</small></p>{}\n",
        svg::bars("KiB", &bars)
    )
}

#[cfg(test)]
mod tests;
