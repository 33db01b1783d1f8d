//! The wiring of the services, and the loop over the bars.

use std::time::{Duration, Instant};

use static_bus::{mailbox::CascadeError, prelude::*};
use trading::{
    Settings,
    bars::Bar,
    exchange::Exchange,
    indicators::Indicators,
    messages::*,
    metrics::{Metrics, Performance},
    portfolio::Portfolio,
    risk::Risk,
    strategy::Strategy,
};

use crate::tally::{Counted, Tally};

/// More than the messages that one bar posts, so the mailbox never grows.
const MAILBOX: usize = 64;

pub struct Outcome {
    pub bars: usize,
    pub performance: Performance,
    pub messages: Vec<(&'static str, &'static str, u64)>,
    pub elapsed: Duration,
}

/// Runs the bars through the bus. After each half of a bar the mailbox is empty.
pub fn run(bars: &[Bar], settings: &Settings) -> Result<Outcome, CascadeError> {
    let tally = Tally::default();
    let exchange = Exchange::new(settings.commission);
    let indicators = Indicators::new(settings.fast, settings.slow);
    let portfolio = Portfolio::new(settings.cash);
    let strategy = Strategy::new(settings.size);
    let metrics = Metrics::default();

    // Subscribers run in this order: at a close the averages and the account are up to date
    // when the strategy reads them.
    let bus = BusBuilder::new()
        .subscribe::<BarOpen, _>(&tally.bar_open)
        .subscribe::<BarOpen, _>(&exchange)
        .subscribe::<BarClose, _>(&tally.bar_close)
        .subscribe::<BarClose, _>(&indicators)
        .subscribe::<BarClose, _>(&portfolio)
        .subscribe::<BarClose, _>(&strategy)
        .subscribe::<Signal, _>(&tally.signal)
        .subscribe::<Signal, _>(&strategy)
        .subscribe::<Fill, _>(&tally.fill)
        .subscribe::<Fill, _>(&portfolio)
        .subscribe::<Fill, _>(&strategy)
        .subscribe::<Fill, _>(&metrics)
        .subscribe::<OrderCancelled, _>(&strategy)
        .subscribe::<EquityMarked, _>(&tally.equity_marked)
        .subscribe::<EquityMarked, _>(&metrics)
        .subscribe::<TradeClosed, _>(&tally.trade_closed)
        .subscribe::<TradeClosed, _>(&metrics)
        .subscribe::<OrderRejected, _>(&tally.order_rejected)
        .register_command::<PlaceOrder, _>(Counted(&tally.place_order, &exchange))
        .register_command::<CancelOrders, _>(Counted(&tally.cancel_orders, &exchange))
        .register_query::<GetSma, _>(Counted(&tally.get_sma, &indicators))
        .register_query::<GetPosition, _>(Counted(&tally.get_position, &portfolio))
        .register_query::<GetEquity, _>(Counted(&tally.get_equity, &portfolio))
        .register_query::<CheckOrder, _>(Counted(&tally.check_order, &Risk))
        .mailbox::<Cascade>(MAILBOX)
        .build();

    let start = Instant::now();
    for (index, bar) in bars.iter().enumerate() {
        bus.publish(&BarOpen {
            bar: index,
            price: bar.open,
        });
        bus.settle()?;
        bus.publish(&BarClose {
            day: bar.time.day(),
            price: bar.close,
        });
        bus.settle()?;
    }
    let elapsed = start.elapsed();

    drop(bus);
    Ok(Outcome {
        bars: bars.len(),
        performance: metrics.into_performance().expect("a run has a bar"),
        messages: tally.rows(),
        elapsed,
    })
}
