//! The services on nautilus's message bus: ticks as its quotes, by the typed call; other messages
//! by the calls for any type.

use std::rc::Rc;

use nautilus_common::msgbus::{self, Endpoint, MStr, ShareableMessageHandler, Topic, TypedHandler};
use nautilus_model::{
    data::QuoteTick,
    identifiers::InstrumentId,
    types::{Price, Quantity},
};

use super::services::{Averaged, Fill, PlaceOrder, Services, State, Tick};

pub struct OnNautilus {
    services: Rc<Services>,
    quotes: MStr<Topic>,
    quote: QuoteTick,
}

impl OnNautilus {
    /// Wires the services on this thread's bus. A higher priority runs first.
    pub fn new() -> Self {
        let services = Rc::new(Services::default());
        let quotes: MStr<Topic> = "data.quotes".into();
        let averages: MStr<Topic> = "averages".into();
        let fills: MStr<Topic> = "fills".into();
        let orders: MStr<Endpoint> = "exchange.execute".into();

        let s = services.clone();
        let exchange = TypedHandler::from(move |quote: &QuoteTick| {
            s.exchange.with(|exchange| exchange.on_tick(tick(quote)));
        });
        msgbus::subscribe_quotes(quotes.into(), exchange, Some(3));
        let s = services.clone();
        let portfolio = TypedHandler::from(move |quote: &QuoteTick| {
            s.portfolio.with(|portfolio| portfolio.on_tick(tick(quote)));
        });
        msgbus::subscribe_quotes(quotes.into(), portfolio, Some(2));
        let s = services.clone();
        let indicator = TypedHandler::from(move |quote: &QuoteTick| {
            let averaged = s.indicator.with(|indicator| indicator.on_tick(tick(quote)));
            msgbus::publish_any(averages, &averaged);
        });
        msgbus::subscribe_quotes(quotes.into(), indicator, Some(1));

        let s = services.clone();
        let strategy = ShareableMessageHandler::from_typed(move |averaged: &Averaged| {
            if let Some(order) = s.strategy.get().on_averaged(*averaged) {
                msgbus::send_any(orders, &order);
            }
        });
        msgbus::subscribe_any(averages.into(), strategy, None);
        let s = services.clone();
        let exchange = ShareableMessageHandler::from_typed(move |order: &PlaceOrder| {
            msgbus::publish_any(fills, &s.exchange.get().on_order(*order));
        });
        msgbus::register_any(orders, exchange);
        let s = services.clone();
        let portfolio = ShareableMessageHandler::from_typed(move |fill: &Fill| {
            s.portfolio.with(|portfolio| portfolio.on_fill(*fill));
        });
        msgbus::subscribe_any(fills.into(), portfolio, Some(2));
        let s = services.clone();
        let strategy = ShareableMessageHandler::from_typed(move |fill: &Fill| {
            s.strategy.with(|strategy| strategy.on_fill(*fill));
        });
        msgbus::subscribe_any(fills.into(), strategy, Some(1));

        OnNautilus {
            services,
            quotes,
            quote: QuoteTick::new(
                InstrumentId::from("ESZ6.GLBX"),
                Price::from("0.00"),
                Price::from("0.00"),
                Quantity::from(1),
                Quantity::from(1),
                0.into(),
                0.into(),
            ),
        }
    }

    #[inline(never)]
    pub fn run(&mut self, state: State, ticks: &[Tick]) -> State {
        self.services.resume(state);
        for tick in ticks {
            self.quote.bid_price.raw = tick.price;
            msgbus::publish_quote(self.quotes, &self.quote);
        }
        self.services.state()
    }
}

/// The quote's raw price is the number of cents, so no time is spent on scaling.
fn tick(quote: &QuoteTick) -> Tick {
    Tick {
        price: quote.bid_price.raw,
    }
}
