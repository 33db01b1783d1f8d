//! A live run: the reader of the feed, the strategy's bus and the exchange's bus, a thread each.
//!
//! At the end of the feed, or when it breaks off or is stopped, the reader posts [`MarketClosed`]. The
//! strategy passes it on to the exchange, which has then posted its last fill, and closes the channel to the
//! strategy. The strategy takes what is left and ends, and so does the exchange.

use std::{
    panic::resume_unwind,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use core_affinity::CoreId;
use static_bus::{
    layer::Timed,
    live::{Live, Receiver, Sender, channel},
    prelude::*,
    time::Timeline,
};
use trading::{
    Settings,
    exchange::Exchange,
    messages::{BarOpen, CancelOrders, Cascade, Fill, OrderCancelled, PlaceOrder},
};

use crate::{
    cli,
    desk::{MAILBOX, Outcome, State},
    feed::{Feed, Stop},
    latency::{Latency, TimedOrders},
    messages::{Input, MarketClosed, MarketOpened, Tick, Timers, ToExchange},
    recording,
    view::{self, Gauges},
};

/// More than the strategy posts to the exchange in a whole run, so the two never wait for each other.
const CAPACITY: usize = 16_384;

/// The market time without a tick after which the market is stale, in seconds: five days.
const SILENCE: f64 = 5.0 * 86_400.0;

/// The time that a message may take, before the report lists it as slow.
const BUDGET: Duration = Duration::from_millis(1);

pub struct Run {
    pub outcome: Outcome,
    /// What the run took.
    pub measured: String,
    /// The failure of the feed, if it broke off.
    pub failure: Option<String>,
}

pub fn run(options: &cli::Run) -> Result<Run, String> {
    let stop = Stop::default();
    let on_signal = stop.clone();
    ctrlc::set_handler(move || on_signal.request())
        .map_err(|failure| format!("Ctrl-C cannot be handled ({failure})"))?;
    let feed = match &options.feed {
        Some(address) => Feed::connect(address, &stop)?,
        None => Feed::start(options.pace.speed_up, &stop)?,
    };
    let ticks = feed.opening().ticks;
    let gauges = Gauges::default();
    let (to_strategy, inputs) = channel::<Input>(CAPACITY);
    let (to_exchange, orders) = channel::<ToExchange>(CAPACITY);
    let [strategy_core, exchange_core] = cores(options.spin);
    thread::scope(|threads| {
        let fills = to_strategy.clone();
        let exchange = threads.spawn(|| {
            exchange_core.map(core_affinity::set_for_current);
            run_exchange(orders, fills, options.spin)
        });
        let strategy = threads.spawn(|| {
            strategy_core.map(core_affinity::set_for_current);
            run_strategy(inputs, to_exchange, &gauges, options)
        });
        let reader = threads.spawn(|| read(feed, to_strategy, &stop));
        view::watch(&gauges, ticks, || strategy.is_finished());
        stop.request(); // for the reader, if the strategy failed
        let (failure, exchange, strategy) = (join(reader).err(), join(exchange), join(strategy));
        exchange?;
        let (outcome, measured) = strategy?;
        Ok(Run {
            outcome,
            measured,
            failure,
        })
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// A core for each bus that spins, if the process has two.
fn cores(spin: bool) -> [Option<CoreId>; 2] {
    match core_affinity::get_core_ids().as_deref() {
        Some([first, second, ..]) if spin => [Some(*first), Some(*second)],
        _ => [None, None],
    }
}

/// Posts the ticks. It ends without an error if the run is stopped or the strategy has ended.
fn read(mut feed: Feed, strategy: Sender<Input>, stop: &Stop) -> Result<(), String> {
    let patience = Duration::from_secs_f64(SILENCE / feed.opening().speed_up);
    let mut running = strategy.post(MarketOpened { patience }).is_ok();
    let mut result = Ok(());
    while running {
        running = match feed.next() {
            Ok(Some(tick)) => strategy.post(tick).is_ok(),
            Ok(None) => false,
            Err(failure) => {
                if !stop.is_requested() {
                    result = Err(failure);
                }
                false
            }
        };
    }
    // A strategy that has ended needs no end.
    let _ = strategy.post(MarketClosed);
    result
}

fn run_exchange(
    orders: Receiver<ToExchange>,
    strategy: Sender<Input>,
    spin: bool,
) -> Result<(), String> {
    let exchange = Exchange::new(Settings::DEFAULT.commission);
    let bus = BusBuilder::new()
        .subscribe::<BarOpen, _>(&exchange)
        .register_command::<PlaceOrder, _>(&exchange)
        .register_command::<CancelOrders, _>(&exchange)
        .subscribe::<Fill, _>(strategy.clone())
        .subscribe::<OrderCancelled, _>(strategy.clone())
        .subscribe_fn(|_: &MarketClosed| strategy.close())
        .mailbox::<Cascade>(MAILBOX)
        .build();
    let timeline = Timeline::<Timers>::new();
    let mut live = Live::new(&bus, &timeline, orders);
    if spin {
        live = live.spin();
    }
    let ran = live.run().map(drop);
    ran.map_err(|error| format!("the exchange: {error}"))
}

/// The outcome, and what the run took.
fn run_strategy(
    inputs: Receiver<Input>,
    exchange: Sender<ToExchange>,
    gauges: &Gauges,
    options: &cli::Run,
) -> Result<(Outcome, String), String> {
    let timeline = Timeline::new();
    let state = State::new(&timeline);
    let (timed, latency) = (Timed::local(), Latency::default());
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(&latency)
        .mount(state.desk())
        .subscribe::<BarOpen, _>(exchange.clone())
        .register_command::<PlaceOrder, _>(TimedOrders(&latency, exchange.clone()))
        .register_command::<CancelOrders, _>(exchange.clone())
        .layer(timed.clone())
        .subscribe::<Tick, _>(gauges)
        .subscribe::<MarketClosed, _>(exchange.clone())
        .mailbox::<Cascade>(MAILBOX)
        .build();

    let mut writer = recording::create(&options.log)?;
    let mut live = Live::new(&bus, &timeline, inputs)
        .recorder(&mut writer)
        .budget(BUDGET);
    if options.spin {
        live = live.spin();
    }
    let report = live
        .run()
        .map_err(|error| format!("the strategy: {error}"))?;
    writer.end(report.end).map_err(|error| error.to_string())?;
    if let Some(undelivered) = exchange.undelivered() {
        return Err(format!("to the exchange: {undelivered}"));
    }
    drop(bus);
    let measured = format!("{}\n\n{latency}\n\n{report}", timed.report());
    Ok((state.into_outcome(), measured))
}
