//! A report as text.

use super::Report;
use crate::histogram::Quantiles;
use crate::limits::LATE;
use crate::scenario::Activity;
use std::fmt;

impl Report {
    fn fmt_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (achieved, part) = (self.achieved_per_s, self.achieved_part() * 100.0);
        if self.offered_per_s > 0.0 {
            writeln!(f, "  deliveries/s   offered {:.0}, achieved {achieved:.0} ({part:.1} %)", self.offered_per_s)?;
        } else {
            writeln!(f, "  deliveries/s   {achieved:.0}")?;
        }
        if let Some(us) = self.server_us_per_delivery {
            let cores = self.server_cores.unwrap_or_default() * 100.0;
            writeln!(
                f,
                "  server CPU     {us:.2} us a delivery, {cores:.1} % of a core: {}",
                threads(&self.server_threads)
            )?;
        }
        match self.latency.count {
            0 => writeln!(f, "  latency        none was taken")?,
            count => writeln!(f, "  latency        {} (due to received, {count} of them)", quantiles(&self.latency))?,
        }
        if self.due > 0 {
            let (late_ms, part) = (LATE.as_millis(), (self.late + self.missing) as f64 / self.due as f64 * 100.0);
            let (due, late, missing) = (self.due, self.late, self.missing);
            writeln!(
                f,
                "  in time        {due} were due; {late} took over {late_ms} ms, {missing} never came ({part:.2} %)"
            )?;
        }
        match &self.ack {
            Some(ack) => writeln!(f, "  ack            {} (due to reply)", quantiles(ack))?,
            None => writeln!(f, "  ack            not applicable: nothing is acknowledged")?,
        }
        if self.level.is_some() {
            // The connections that carried them are gone, and their counters with them.
            return Ok(());
        }
        let (out, back) = (self.server_packets_per_delivery, self.client_packets_per_delivery);
        let (bytes, per_s) = (self.server_bytes_per_delivery, self.server_packets_per_s);
        writeln!(
            f,
            "  packets        {out:.3} sent, {back:.3} received by the server a delivery; {bytes:.0} bytes sent a delivery, {per_s:.0} packets/s"
        )
    }

    fn fmt_operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(operations) = &self.operations else { return Ok(()) };
        writeln!(f, "  {:<14} {:.0}", format!("{}s/s", operations.name), operations.per_s)?;
        if let Some(us) = operations.server_us_each {
            let (cores, threads) = (self.server_cores.unwrap_or_default() * 100.0, threads(&self.server_threads));
            writeln!(f, "  server CPU     {us:.1} us a {}, {cores:.1} % of a core: {threads}", operations.name)?;
        }
        match (operations.batch, self.scenario.activity) {
            (Some(batch), _) => writeln!(f, "  batch          {batch:.1} events became durable in a tick of the world")?,
            (None, Activity::Closed { .. }) => writeln!(f, "  batch          not known")?,
            (None, _) => {}
        }
        if let Activity::Join { .. } = self.scenario.activity {
            writeln!(f, "  latency        {} (start to subscribed)", quantiles(&self.latency))?;
        }
        Ok(())
    }

    /// The storm, and what went on beside the messages.
    fn fmt_beside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(level) = &self.level {
            writeln!(f, "  storm          all level again after {:.0} ms; {}", level.max_ms, quantiles(level))?;
        }
        for (name, aside) in &self.asides {
            write!(f, "  beside         {name}, {:.1}/s", aside.per_s)?;
            let latency = aside.latency.as_ref().map(|latency| format!(", answered in {}", quantiles(latency)));
            writeln!(f, "{}", latency.unwrap_or_default())?;
        }
        let slow = self.scenario.slow_sessions();
        if slow > 0 {
            writeln!(f, "  slow readers   {slow}, not counted above")?;
        }
        let visitors = self.scenario.visitors();
        if visitors > 0 {
            writeln!(f, "  visitors       {visitors} come and go; their latency is not counted above")?;
        }
        Ok(())
    }

    fn fmt_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rss) = self.rss else { return Ok(()) };
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        write!(f, "  memory         {:.1} MiB resident", mib(rss as f64))?;
        if let Some(grown) = self.rss_grown {
            write!(f, ", {:+.1} while measured", mib(grown as f64))?;
        }
        let each = self.rss_per_connection.map(|bytes| format!(", {:.1} KiB a connection", bytes / 1_024.0));
        writeln!(f, "{}", each.unwrap_or_default())
    }

    fn fmt_idle(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(us), Some(cores)) = (self.server_us_per_connection_s, self.server_cores) {
            let (percent, threads) = (cores * 100.0, threads(&self.server_threads));
            writeln!(f, "  server CPU     {us:.1} us a connection and second, {percent:.2} % of a core: {threads}")?;
        }
        writeln!(f, "  packets        {:.1} sent by the server a second", self.server_packets_per_s)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.scenario;
        write!(f, "{}, round {}: {}, {} x {} members", s.name, self.round, self.target, s.rooms, s.members)?;
        if s.devices > 1 {
            write!(f, " x {} devices", s.devices)?;
        }
        if let Some(beside) = &s.beside {
            let (rooms, members, rate) = (beside.rooms, beside.members * beside.devices, beside.sends_per_s);
            write!(f, " beside {rooms} x {members} sessions with {rate:.1} sends/s")?;
        }
        let (rate, bytes) = (s.sends_per_s, s.body_bytes);
        writeln!(f, ", {rate:.0} sends/s of {bytes} bytes, {} s after {} s", s.measure_s, s.warmup_s)?;
        self.fmt_operations(f)?;
        match s.activity {
            Activity::Join { .. } => {}
            Activity::Talk if s.sends_per_s <= 0.0 => self.fmt_idle(f)?,
            _ => self.fmt_load(f)?,
        }
        self.fmt_beside(f)?;
        self.fmt_memory(f)?;
        if let Some(cores) = self.database_cores {
            writeln!(f, "  database       {:.1} % of a core", cores * 100.0)?;
        }
        if let Some(connects) = self.connects_per_s {
            writeln!(f, "  connections    {}, connected and subscribed at {connects:.0}/s", s.sessions())?;
        }
        writeln!(
            f,
            "  harness        {:.1} % of a core, sends late by {}",
            self.clients_cores * 100.0,
            quantiles(&self.lag)
        )?;
        writeln!(f, "  faults         lost {}, gaps {}", self.lost, self.gaps)?;
        for warning in &self.warnings {
            writeln!(f, "  WARNING        {warning}")?;
        }
        for problem in &self.problems {
            writeln!(f, "  FAILED         {problem}")?;
        }
        Ok(())
    }
}

fn threads(parts: &[(String, f64)]) -> String {
    let shown = parts.iter().take(4).map(|(name, part)| format!("{name} {:.0} %", part * 100.0));
    shown.collect::<Vec<_>>().join(", ")
}

fn quantiles(q: &Quantiles) -> String {
    format!("p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2} ms", q.p50_ms, q.p99_ms, q.p999_ms, q.max_ms)
}
