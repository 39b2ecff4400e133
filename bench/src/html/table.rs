//! The tables of the report in HTML.

use super::Group;
use super::svg::{escaped, number};
use crate::campaign::Findings;
use crate::pairs::Compared;
use crate::ramp::{Saturated, Saturation};
use crate::report::{Report, Spread};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A figure of a round, if it has it.
type Figure = fn(&Report) -> Option<f64>;

/// The columns: what they are called, and where the figure is.
const COLUMNS: [(&str, Figure); 12] = [
    ("deliveries/s", |r| (r.achieved_per_s > 0.0).then_some(r.achieved_per_s)),
    ("operations/s", |r| Some(r.operations.as_ref()?.per_s)),
    ("server CPU, us a delivery or operation", |r| match &r.operations {
        Some(operations) => operations.server_us_each,
        None => r.server_us_per_delivery,
    }),
    ("us a connection and s", |r| r.server_us_per_connection_s),
    ("p50, ms", |r| taken(r, r.latency.p50_ms)),
    ("p99, ms", |r| taken(r, r.latency.p99_ms)),
    ("p99.9, ms", |r| taken(r, r.latency.p999_ms)),
    ("all level after, ms", |r| Some(r.level.as_ref()?.max_ms)),
    ("packets a delivery", |r| (r.achieved_per_s > 0.0 && r.level.is_none()).then_some(r.server_packets_per_delivery)),
    ("memory, MiB", |r| Some(r.rss? as f64 / f64::from(1 << 20))),
    ("memory grown, MiB", |r| Some(r.rss_grown? as f64 / f64::from(1 << 20))),
    ("KiB a connection", |r| Some(r.rss_per_connection? / 1_024.0)),
];

fn taken(report: &Report, ms: f64) -> Option<f64> {
    (report.latency.count > 0).then_some(ms)
}

/// All figures: a row for each scenario, rate and target.
pub(super) fn figures(groups: &[Group<'_>]) -> String {
    let mut html = "<h2>Figures</h2><table><tr><th>scenario</th><th>target</th>".to_owned();
    for (name, _) in COLUMNS {
        let _ = write!(html, "<th>{name}</th>");
    }
    html.push_str("<th>rounds</th></tr>\n");
    for group in groups {
        let _ = write!(html, "<tr><td>{}</td><td>{}</td>", escaped(&group.title()), escaped(group.target));
        for (_, figure) in COLUMNS {
            match group.median(figure) {
                Some(Spread { median, lowest, highest }) if group.rounds.len() > 1 => {
                    let (middle, low, high) = (number(median), number(lowest), number(highest));
                    let _ = write!(html, "<td>{middle} <small>({low} to {high})</small></td>");
                }
                Some(value) => {
                    let _ = write!(html, "<td>{}</td>", number(value.median));
                }
                None => html.push_str("<td></td>"),
            }
        }
        let failed = group.rounds.iter().filter(|round| !round.counts()).count();
        let failed = if failed > 0 { format!(" <span class=\"bad\">{failed} failed</span>") } else { String::new() };
        let _ = writeln!(html, "<td>{}{failed}</td></tr>", group.rounds.len());
    }
    html + "</table>\n"
}

/// Ends of ramps, and of several ramps together.
pub(super) fn saturations(saturations: &[Saturation], saturated: &[Saturated]) -> String {
    if saturations.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Saturation</h2><table><tr><th>scenario</th><th>target</th><th>round</th>\
                    <th>kept up with, deliveries/s</th><th>too much, deliveries/s</th></tr>\n"
        .to_owned();
    for found in saturations {
        let failed = found.failed_per_s.map_or("none tried".to_owned(), number);
        let (scenario, target, round) = (escaped(&found.scenario), escaped(&found.target), found.round);
        let busy = if found.harness_was_busy { " or more: the load process was busy" } else { "" };
        let kept = number(found.saturation_per_s) + busy;
        let _ =
            writeln!(html, "<tr><td>{scenario}</td><td>{target}</td><td>{round}</td><td>{kept}</td><td>{failed}</td></tr>");
    }
    html.push_str("</table>\n");
    let items: String = saturated.iter().map(|all| format!("<li>{}</li>\n", escaped(&all.to_string()))).collect();
    if items.is_empty() { html } else { format!("{html}<ul>\n{items}</ul>\n") }
}

/// Comparisons of two sides.
pub(super) fn compared(compared: &[Compared]) -> String {
    if compared.is_empty() {
        return String::new();
    }
    let mut html =
        "<h2>Comparisons</h2><table><tr><th>what</th><th>figure</th><th>ratio</th><th>goal, at most</th></tr>\n".to_owned();
    for found in compared {
        let (what, figure) = (escaped(&found.compared), escaped(&found.figure));
        let Spread { median: ratio, lowest: low, highest: high } = found.ratio;
        let missed = if found.is_reached { "" } else { " <span class=\"bad\">not reached</span>" };
        let goal = found.goal;
        let _ = writeln!(
            html,
            "<tr><td>{what}</td><td>{figure}</td><td>{ratio:.3} <small>({low:.3} to {high:.3})</small></td><td>{goal:.2}{missed}</td></tr>"
        );
    }
    html + "</table>\n"
}

/// What went on beside the messages, what failed, what spoils figures, what was not measured and why.
pub(super) fn remarks(findings: &Findings) -> String {
    let mut remarks = BTreeSet::new();
    for report in &findings.reports {
        let place = format!("{} of {}", report.scenario.name, report.target);
        for (name, aside) in &report.asides {
            let latency =
                aside.latency.as_ref().map(|l| format!(", answered in p50 {:.2}, p99 {:.2} ms", l.p50_ms, l.p99_ms));
            remarks.insert(format!("{place}: {name}, {:.1}/s{}", aside.per_s, latency.unwrap_or_default()));
        }
        for problem in &report.problems {
            remarks.insert(format!("{place}, round {}: FAILED, {problem}", report.round));
        }
        for warning in &report.warnings {
            remarks.insert(format!("{place}, round {}: {warning}", report.round));
        }
    }
    for what in &findings.not_applicable {
        remarks.insert(format!("{} of {}: not applicable, {}", what.scenario, what.target, what.not_applicable));
    }
    remarks.extend(findings.missing.iter().map(ToString::to_string));
    remarks.extend(findings.broken.iter().map(ToString::to_string));
    if remarks.is_empty() {
        return String::new();
    }
    let items: String = remarks.iter().map(|remark| format!("<li>{}</li>\n", escaped(remark))).collect();
    format!("<h2>Remarks</h2><ul>\n{items}</ul>\n")
}
