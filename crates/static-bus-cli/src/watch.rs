//! The command `watch`.

use std::io::{self, IsTerminal as _};

use static_bus_remote::transport::Inspect;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    args::{Groups, Watch},
    failure::Failure,
    inspection::select,
    output::{Column::Right, Output, Table},
    report::{Figures, SampleReport},
    sample::{Sample, Sampler},
    text,
};

/// Moves to the upper left corner, and clears the terminal from there.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints samples until there are enough. A failed one is printed, and the next is tried.
pub async fn run<T: Inspect>(broker: &T, args: &Watch, output: Output) -> Result<(), Failure> {
    let mut sampler = Sampler::new(args.groups.selection.clone());
    let mut before: Option<Sample> = None;
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = args.count;
    loop {
        ticks.tick().await;
        left = left.map(|left| left.saturating_sub(1));
        let is_last = left == Some(0);
        match sampler.sample(broker).await {
            Ok(sample) => {
                let reports = reports(&sample, before.as_ref(), &args.groups);
                if output.is_json() {
                    output.objects(&reports)?;
                } else {
                    output.print(&page(broker.address(), &sample, &reports))?;
                }
                before = Some(sample);
            }
            Err(error) if is_last => return Err(error.into()),
            Err(error) => {
                eprintln!("error: {}", text::visible(&error.to_string()));
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

fn reports(sample: &Sample, before: Option<&Sample>, args: &Groups) -> Vec<SampleReport> {
    let earlier = before.map_or(&[][..], |before| &before.topics);
    let mut reports = Vec::new();
    for topic in &sample.topics {
        for group in select(std::slice::from_ref(topic), earlier, args) {
            let name = group.figures.group.as_deref();
            let rates = before.map(|before| sample.rates(before, topic, name));
            let rates = rates.unwrap_or_default();
            reports.push(SampleReport {
                time: sample.time.to_string(),
                figures: group.figures,
                members: group.members.len(),
                arriving_per_second: rates.arriving,
                handled_per_second: rates.handled,
            });
        }
    }
    reports
}

fn page(address: &str, sample: &Sample, reports: &[SampleReport]) -> String {
    let clear = if io::stdout().is_terminal() {
        CLEAR
    } else {
        ""
    };
    let time = text::time(&sample.time.to_string());
    let rates = [Right("ARRIVING"), Right("HANDLED")];
    let mut table = Table::new(Figures::COLUMNS.into_iter().chain(rates));
    for report in reports {
        let rates = [report.arriving_per_second, report.handled_per_second];
        let cells = report.figures.cells(report.members).into_iter();
        table.row(cells.chain(rates.map(text::rate)));
    }
    let table = match reports {
        [] => "no groups\n".to_owned(),
        _ => table.to_string(),
    };
    format!("{clear}{address}, {time} UTC\n{table}\n")
}
