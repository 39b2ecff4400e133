//! What came of one round after the other: growth of memory, and Starling by its peers.

use super::Group;
use super::svg::{self, Line, Scale, escaped};
use crate::pairs::Compared;
use crate::report::{Ratio, Ratios, Spread};
use std::fmt::Write;

/// What the servers' memory grew by while measured, in each round: one plot for each scenario and rate.
pub(super) fn growth(groups: &[Group<'_>]) -> String {
    let mut html = String::new();
    let mut titles: Vec<String> = groups.iter().map(Group::title).collect();
    titles.sort_unstable();
    titles.dedup();
    for title in titles {
        let line = |group: &Group<'_>| {
            let grown = group.counting().filter_map(|report| Some((report.round, report.rss_grown? as f64)));
            let points = grown.map(|(round, bytes)| (f64::from(round), bytes / f64::from(1 << 20))).collect();
            Line { name: group.target.to_owned(), target: group.number, points }
        };
        let lines = groups.iter().filter(|group| group.title() == title).map(line);
        let lines: Vec<Line> = lines.filter(|line| !line.points.is_empty()).collect();
        if !lines.is_empty() {
            html.push_str(&format!("<h3>{}</h3>{}\n", escaped(&title), by_round("MiB", &lines)));
        }
    }
    if html.is_empty() { html } else { format!("<h2>Growth of memory while measured</h2>{html}") }
}

/// What one thing costs more: the ratio of each comparison in each round, and its goal.
pub(super) fn compared(compared: &[Compared]) -> String {
    let plot = |(number, compared): (usize, &Compared)| {
        let points = |of: &dyn Fn(&(u32, f64, f64)) -> f64| {
            compared.rounds.iter().map(|round| (f64::from(round.0), of(round))).collect::<Vec<_>>()
        };
        let line = |name: &str, target, points| Line { name: name.to_owned(), target, points };
        let lines = [
            line("with by without", 2 * number, points(&|(_, with, without)| with / without)),
            line("goal", 2 * number + 1, points(&|_| compared.goal)),
        ];
        let (title, plot) = (escaped(&compared.compared), by_round(&format!("{}, ratio", compared.figure), &lines));
        format!("<h3>{title}</h3>{plot}\n")
    };
    let plots: String = compared.iter().filter(|compared| !compared.rounds.is_empty()).enumerate().map(plot).collect();
    if plots.is_empty() { plots } else { format!("<h2>Growth: what one thing more costs</h2>{plots}") }
}

/// Starling's figures by those of each peer: a table of all, and a plot of what a scenario is first of all about.
pub(super) fn ratios(ratios: &[Ratios], groups: &[Group<'_>]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Starling by its peers</h2><table><tr><th>scenario</th><th>peer</th><th>figure</th><th>ratio</th>\
                    <th>round by round</th></tr>\n"
        .to_owned();
    for of in ratios {
        let (scenario, peer) = (escaped(&title(of)), escaped(&of.peer));
        for Ratio { figure, spread: Spread { median, lowest, highest }, rounds } in &of.ratios {
            let rounds: Vec<String> = rounds.iter().map(|(round, ratio)| format!("{round}: {ratio:.2}")).collect();
            let (figure, rounds) = (escaped(figure), rounds.join(", "));
            let _ = writeln!(
                html,
                "<tr><td>{scenario}</td><td>{peer}</td><td>{figure}</td><td>{median:.2} <small>({lowest:.2} to {highest:.2})</small>\
                 </td><td>{rounds}</td></tr>"
            );
        }
    }
    html.push_str("</table>\n");
    let mut titles: Vec<String> = ratios.iter().map(title).collect();
    titles.dedup();
    for title in titles {
        let here: Vec<&Ratios> = ratios.iter().filter(|of| self::title(of) == title).collect();
        let figure = here.iter().flat_map(|of| &of.ratios).find(|ratio| ratio.figure.contains("CPU"));
        let Some(figure) = figure.map(|ratio| ratio.figure.as_str()) else { continue };
        let line = |of: &&Ratios| {
            let ratio = of.ratios.iter().find(|ratio| ratio.figure == figure)?;
            let points = ratio.rounds.iter().map(|(round, ratio)| (f64::from(*round), *ratio)).collect();
            let number = groups.iter().find(|group| group.target == of.peer).map_or(0, |group| group.number);
            Some(Line { name: of.peer.clone(), target: number, points })
        };
        let lines: Vec<Line> = here.iter().filter_map(line).collect();
        let (title, plot) = (escaped(&title), by_round(&format!("{figure}, Starling by peer"), &lines));
        html.push_str(&format!("<h3>{title}</h3>{plot}\n"));
    }
    html
}

fn title(ratios: &Ratios) -> String {
    super::titled(&ratios.scenario, ratios.offered_per_s)
}

/// A plot over rounds.
fn by_round(what: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let rounds = points().map(|point| point.0).fold(1.0, f64::max);
    svg::lines(("round", Scale::Counts(rounds)), (what, Scale::span(points().map(|point| point.1))), lines)
}
