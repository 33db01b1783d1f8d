//! Orders that are filled late or cancelled, as they may be on another thread.

use std::cell::{Cell, RefCell};

use static_bus::prelude::*;
use trading::{exchange::Exchange, messages::*, strategy::Strategy};

mailbox! { enum Posted { command PlaceOrder, event OrderRejected, event Signal } }
mailbox! { enum Reports { event Fill, event OrderCancelled } }

enum Step {
    Signal(Direction),
    Fill(f64),
    Cancelled(f64),
}

/// The orders of a strategy of ten units without a position, step by step.
fn orders<const N: usize>(steps: [Step; N]) -> [Vec<f64>; N] {
    let strategy = Strategy::new(10.0);
    let (held, orders) = (Cell::new(0.0), RefCell::new(Vec::new()));
    let bus = BusBuilder::new()
        .subscribe::<Signal, _>(&strategy)
        .subscribe_fn(|fill: &Fill| held.set(held.get() + fill.units))
        .subscribe::<Fill, _>(&strategy)
        .subscribe::<OrderCancelled, _>(&strategy)
        .register_query_fn(|_: GetPosition| held.get())
        .register_query_fn(|_: CheckOrder| Verdict::Accepted)
        .register_command_fn(|order: PlaceOrder| orders.borrow_mut().push(order.units))
        .mailbox::<Posted>(4)
        .build();
    steps.map(|step| {
        match step {
            Step::Signal(direction) => bus.publish(&Signal { direction }),
            Step::Fill(units) => bus.publish(&Fill {
                bar: 0,
                units,
                price: 100.0,
                commission: 1.0,
            }),
            Step::Cancelled(units) => bus.publish(&OrderCancelled { units }),
        }
        bus.settle().expect("a signal posts two orders at most");
        orders.take()
    })
}

#[test]
fn a_signal_waits_until_all_orders_are_filled() {
    let orders = orders([
        Step::Signal(Direction::Buy),
        Step::Signal(Direction::Sell),
        Step::Fill(10.0),
        Step::Signal(Direction::Buy),
        Step::Fill(-10.0),
        Step::Fill(-10.0),
    ]);
    let sell = || vec![-10.0, -10.0];
    assert_eq!(
        orders,
        [vec![10.0], vec![], sell(), vec![], vec![], vec![10.0, 10.0]]
    );
}

#[test]
fn of_the_signals_that_wait_the_latest_counts() {
    let orders = orders([
        Step::Signal(Direction::Buy),
        Step::Signal(Direction::Buy),
        Step::Signal(Direction::Sell),
        Step::Fill(10.0),
    ]);
    assert_eq!(orders, [vec![10.0], vec![], vec![], vec![-10.0, -10.0]]);
}

#[test]
fn a_signal_after_a_cancelled_order_finds_the_position_before_it() {
    let orders = orders([
        Step::Signal(Direction::Buy),
        Step::Signal(Direction::Sell),
        Step::Cancelled(10.0),
    ]);
    assert_eq!(orders, [vec![10.0], vec![], vec![-10.0]]);
}

#[test]
fn the_exchange_confirms_cancelled_orders_and_does_not_fill_them() {
    let (exchange, cancelled) = (Exchange::new(0.0), RefCell::new(Vec::new()));
    let bus = BusBuilder::new()
        .register_command::<PlaceOrder, _>(&exchange)
        .register_command::<CancelOrders, _>(&exchange)
        .subscribe::<BarOpen, _>(&exchange)
        .subscribe_fn(|order: &OrderCancelled| cancelled.borrow_mut().push(order.units))
        .subscribe_fn(|fill: &Fill| panic!("{fill:?} of a cancelled order"))
        .mailbox::<Reports>(4)
        .build();
    bus.execute(PlaceOrder { units: 10.0 });
    bus.execute(PlaceOrder { units: -3.0 });
    bus.execute(CancelOrders);
    bus.publish(&BarOpen {
        bar: 1,
        price: 100.0,
    });
    bus.settle().expect("two confirmations");
    assert_eq!(cancelled.take(), [10.0, -3.0]);
}
