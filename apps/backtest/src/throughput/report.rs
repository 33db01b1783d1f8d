//! The report of a contest, as text and as JSON.

use serde_json::{Value, json};

use super::contest::{Contest, Percentiles, Standing};

pub fn json(contest: &Contest) -> String {
    let standing = |standing: &Standing| {
        let Percentiles { p50, p99, p99_9 } = standing.latency;
        json!({
            "name": standing.name,
            "ns_per_tick": standing.ns_per_tick,
            "ratio": standing.ratio,
            "net_ratio": finite(standing.net_ratio),
            "events_per_second": contest.events_per_second(standing),
            "p50_ns": p50,
            "p99_ns": p99,
            "p99_9_ns": p99_9,
            "allocations": standing.allocations,
            "state_hash": format!("{:016x}", standing.state_hash),
        })
    };
    let path = |bus| -> [Value; 2] { [&contest.handwritten, bus].map(standing) };
    json!({
        "ticks": contest.ticks,
        "seed": contest.seed,
        "messages": contest.messages,
        "empty_loop_ns_per_tick": contest.empty_loop,
        "timed_ticks": contest.timed,
        "empty_loop_p50_ns": contest.empty_loop_p50,
        "variants": path(&contest.with_mailbox),
        "acyclic": path(&contest.acyclic),
        "acyclic_timed": standing(&contest.acyclic_timed),
        "replayed": standing(&contest.replayed),
        "handlers": handlers(contest),
    })
    .to_string()
}

/// The time of each handler, as the library reports it.
fn handlers(contest: &Contest) -> Value {
    serde_json::from_str(&contest.handlers.to_json()).expect("the report is JSON")
}

pub fn text(contest: &Contest) -> String {
    let row = |standing: &Standing| {
        let Percentiles { p50, p99, p99_9 } = standing.latency;
        format!(
            "{:<14}{:>9.2}{:>8.3}{:>8.3}{:>15.0}{:>7}{:>7}{:>7}{:>7}",
            standing.name,
            standing.ns_per_tick,
            standing.ratio,
            standing.net_ratio,
            contest.events_per_second(standing),
            p50,
            p99,
            p99_9,
            standing.allocations,
        )
    };
    let Contest {
        ticks,
        seed,
        messages,
        empty_loop,
        timed,
        empty_loop_p50,
        handwritten,
        acyclic,
        acyclic_timed,
        replayed,
        with_mailbox,
        handlers,
    } = contest;
    [
        format!("{ticks} ticks of 4 symbols, seed {seed}: {messages} messages"),
        format!("all variants end in state {:016x}", handwritten.state_hash),
        String::new(),
        format!(
            "{:<14}{:>9}{:>8}{:>8}{:>15}{:>7}{:>7}{:>7}{:>7}",
            "", "ns/tick", "ratio", "net", "events/s", "p50", "p99", "p99.9", "allocs"
        ),
        row(handwritten),
        "orders and fills handled where they are sent (acyclic)".into(),
        row(acyclic),
        row(acyclic_timed),
        row(replayed),
        "orders and fills through the mailbox".into(),
        row(with_mailbox),
        String::new(),
        format!("making and merging the ticks takes {empty_loop:.2} ns of each; \"net\" is the ratio without it"),
        format!(
            "p50 to p99.9: ns for one tick, of the first {timed}; making it and reading the clock takes {empty_loop_p50} of them"
        ),
        String::new(),
        format!("the time of each handler, of the first {timed} ticks"),
        handlers.to_string(),
    ]
    .join("\n")
}

impl Contest {
    fn events_per_second(&self, standing: &Standing) -> f64 {
        self.messages as f64 / self.ticks as f64 * 1e9 / standing.ns_per_tick
    }
}

/// The number, if JSON can represent it.
fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}
