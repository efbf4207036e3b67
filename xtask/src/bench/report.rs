//! The results, as tables for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    latency::FirstEvent, load::Kind, loads::Cost, scale::Scale, soak::Soak, spread::Spread, targets, tracer::Tracer,
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// Version of this format.
    pub(super) schema: u32,
    pub(super) machine: Machine,
    /// Pairs of runs for each tracer and load.
    pub(super) pairs: u32,
    pub(super) loads: Vec<Cost>,
    pub(super) first_event: Vec<FirstEvent>,
    /// The first is that of an idle machine.
    pub(super) scale: Vec<Scale>,
    /// Only when it was asked for.
    pub(super) soak: Option<Soak>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) cpus: usize,
    /// Of the minute before the start: much more than 0 means that others were at work.
    pub(super) load_average: f64,
}

impl Results {
    pub(super) fn cost(&self, load: Kind, tracer: Tracer) -> Option<&Cost> {
        self.loads.iter().find(|cost| cost.load == load && cost.tracer == tracer)
    }

    /// Tables in Markdown.
    pub(super) fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Machine { kernel, cpus, load_average } = &self.machine;
        writeln!(
            text,
            "Linux {kernel}, {cpus} CPUs, load average before {load_average:.1}; medians of {} pairs (least–greatest)\n",
            self.pairs
        )?;
        self.write_churn(text)?;
        self.write_others(text)?;
        self.write_first_events(text)?;
        if !self.scale.is_empty() {
            self.write_scale(text)?;
        }
        if let Some(soak) = &self.soak {
            soak.write(text)?;
        }
        writeln!(text, "| target | measured | empty programs at the same hooks | |\n|---|---|---|---|")?;
        for target in targets::judge(self) {
            let verdict = match target.met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "not measured",
            };
            writeln!(text, "| {} | {} | {} | {verdict} |", target.what, target.measured, target.limit)?;
        }
        Ok(())
    }

    fn write_churn(&self, text: &mut String) -> std::fmt::Result {
        let churn: Vec<&Cost> = self.loads.iter().filter(|cost| cost.load == Kind::Churn).collect();
        if churn.is_empty() {
            return Ok(());
        }
        let untraced = Spread::of(churn.iter().filter_map(|cost| Some(cost.untraced_per_second?.median)));
        if let Some(untraced) = untraced {
            writeln!(text, "Connections that come and go, {:.0} a second untraced:\n", untraced.median)?;
        }
        writeln!(
            text,
            "| tracer | throughput, untraced = 1 | in the kernel, ns a transition | its CPU time, ns a transition | lost | peak RSS, MiB | stop, ms |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|")?;
        for cost in churn {
            if let Some(reason) = &cost.refused {
                writeln!(
                    text,
                    "| {} | does not run here: {} | | | | | |",
                    cost.tracer.name(),
                    reason.replace('|', "/")
                )?;
                continue;
            }
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                cost.tracer.name(),
                shown(cost.throughput, 2),
                shown(cost.in_kernel_ns, 0),
                shown(cost.cpu_ns, 0),
                shown(cost.lost, 0),
                shown(cost.peak_rss_mib, 0),
                shown(cost.stop_ms, 0)
            )?;
        }
        writeln!(text)
    }

    fn write_others(&self, text: &mut String) -> std::fmt::Result {
        let others: Vec<&Cost> = self.loads.iter().filter(|cost| cost.load != Kind::Churn).collect();
        if others.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "| load | tracer | throughput, untraced = 1 | in the kernel, ns | lost |\n|---|---|---|---|---|"
        )?;
        for cost in others {
            let load = match cost.load {
                Kind::Accept => "bursts of accepts and resets, a transition",
                Kind::Receive => "small receives, one",
                Kind::Churn | Kind::CloseWait => "",
            };
            let throughput = cost.refused.clone().unwrap_or_else(|| shown(cost.throughput, 2));
            let (ns, lost) = (shown(cost.in_kernel_ns, 1), shown(cost.lost, 0));
            writeln!(text, "| {load} | {} | {throughput} | {ns} | {lost} |", cost.tracer.name())?;
        }
        writeln!(text)
    }

    fn write_first_events(&self, text: &mut String) -> std::fmt::Result {
        if self.first_event.is_empty() {
            return Ok(());
        }
        writeln!(text, "| tracer | start to first event (`leaks`: report), ms |\n|---|---|")?;
        for first in &self.first_event {
            let took = first.refused.as_ref().map_or_else(|| shown(first.ms, 0), |why| format!("not measured: {why}"));
            writeln!(text, "| {} | {took} |", first.tracer.name())?;
        }
        writeln!(text)
    }

    fn write_scale(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "`tcpstate leaks` with sockets in CLOSE_WAIT that it saw come / that were there before it:\n")?;
        writeln!(
            text,
            "| sockets | RSS, MiB | kernel memory of all maps, MiB | of that of sockets, bytes each | first snapshot, ms | snapshot, ms | report, ms |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|")?;
        for Scale { sockets, seen, found, first_snapshot_ms, snapshot_ms, report_ms } in &self.scale {
            let each = |bytes: Option<f64>| bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}"));
            writeln!(
                text,
                "| {sockets} | {:.1} / {:.1} | {:.1} / {:.1} | {} / {} | {} | {} | {} |",
                seen.rss_mib,
                found.rss_mib,
                seen.maps_mib,
                found.maps_mib,
                each(seen.kernel_bytes_each),
                each(found.kernel_bytes_each),
                shown(*first_snapshot_ms, 1),
                shown(*snapshot_ms, 1),
                shown(*report_ms, 1)
            )?;
        }
        writeln!(text)
    }
}

fn shown(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| format!("{spread:.digits$}"))
}
