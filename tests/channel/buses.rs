//! Two buses on two threads, whose modules do not know of it.

use static_bus::live::{self, Sender};
use static_bus::mailbox::Cascade;
use static_bus::prelude::*;
use std::{cell::Cell, thread};

struct Quote(u64);
event!(Quote);
struct PlaceOrder {
    id: u64,
    price: u64,
}
command!(PlaceOrder);
#[derive(Clone)]
struct Fill {
    order: u64,
    price: u64,
}
event!(Fill);

mailbox! { enum ToExchange { command PlaceOrder } }
mailbox! { enum ToStrategy { event Quote, event Fill } }

/// Orders at each quote.
#[derive(Default)]
struct Strategy {
    orders: Cell<u64>,
}
impl<B: ExecuteCommand<PlaceOrder>> EventHandler<Quote, B> for Strategy {
    fn handle(&self, quote: &Quote, bus: &B) {
        let id = self.orders.get();
        self.orders.set(id + 1);
        bus.execute(PlaceOrder { id, price: quote.0 });
    }
}

/// Fills each order at its price.
struct Exchange;
impl<B: PublishEvent<Fill>> CommandHandler<PlaceOrder, B> for Exchange {
    fn handle(&self, order: PlaceOrder, bus: &B) {
        bus.publish(&Fill {
            order: order.id,
            price: order.price,
        });
    }
}

/// Counts and adds up fills.
#[derive(Default)]
struct Portfolio {
    fills: Cell<u64>,
    paid: Cell<u64>,
}
impl<B> EventHandler<Fill, B> for Portfolio {
    fn handle(&self, fill: &Fill, _: &B) {
        assert_eq!(fill.order, self.fills.get(), "fills are in order");
        self.fills.set(self.fills.get() + 1);
        self.paid.set(self.paid.get() + fill.price);
    }
}

#[test]
fn modules_of_two_threads_do_what_they_do_on_one_bus() {
    const QUOTES: u64 = 10_000;
    let price = |n: u64| n * 7919 % 1000;

    let alone = Portfolio::default();
    let bus = BusBuilder::new()
        .subscribe::<Quote, _>(Strategy::default())
        .register_command::<PlaceOrder, _>(Exchange)
        .subscribe::<Fill, _>(&alone)
        .build();
    for n in 0..QUOTES {
        bus.publish(&Quote(price(n)));
    }
    assert_eq!(alone.fills.get(), QUOTES);

    let (orders, order_receiver) = live::channel::<ToExchange>(16);
    let (fills, fill_receiver) = live::channel::<ToStrategy>(QUOTES as usize);
    let apart = Portfolio::default();
    thread::scope(|threads| {
        threads.spawn(move || {
            let bus = BusBuilder::new()
                .register_command::<PlaceOrder, _>(Exchange)
                .subscribe::<Fill, _>(fills)
                .build();
            order_receiver.for_each(|input| input.deliver(&bus));
        });
        let bus = BusBuilder::new()
            .subscribe::<Quote, _>(Strategy::default())
            .register_command::<PlaceOrder, _>(orders)
            .subscribe::<Fill, _>(&apart)
            .build();
        for n in 0..QUOTES {
            bus.publish(&Quote(price(n)));
        }
        for input in fill_receiver {
            input.deliver(&bus);
            if apart.fills.get() == QUOTES {
                break;
            }
        }
        drop(bus); // and with it the sender of orders, so the exchange ends
    });
    assert_eq!(apart.paid.get(), alone.paid.get());
}

#[test]
fn a_sender_stands_in_a_module_and_in_the_wiring() {
    module! {
        struct Remote {
            orders: Sender<ToExchange> => [command PlaceOrder],
        }
    }
    let (orders, receiver) = live::channel::<ToExchange>(4);
    let bus = BusBuilder::new().mount(Remote { orders }).build();
    bus.execute(PlaceOrder { id: 1, price: 2 });
    assert_eq!(receiver.len(), 1);
    let wiring = bus.wiring().to_string();
    assert!(
        wiring.contains("Sender<channel::buses::ToExchange>"),
        "{wiring}"
    );
}

#[test]
fn other_subscribers_of_the_event_still_run() {
    let (sender, receiver) = live::channel::<ToStrategy>(4);
    let portfolio = Portfolio::default();
    let bus = BusBuilder::new()
        .subscribe::<Fill, _>(&portfolio)
        .subscribe::<Fill, _>(sender)
        .build();
    bus.publish(&Fill { order: 0, price: 5 });
    assert_eq!((portfolio.paid.get(), receiver.len()), (5, 1));
}
