//! One loop that calls the methods of the services one after another.

use super::services::{State, Tick};

#[inline(never)]
pub fn run(state: State, ticks: &[Tick]) -> State {
    let State {
        mut indicator,
        mut strategy,
        mut exchange,
        mut portfolio,
    } = state;
    for tick in ticks {
        exchange.on_tick(*tick);
        portfolio.on_tick(*tick);
        let averaged = indicator.on_tick(*tick);
        if let Some(order) = strategy.on_averaged(averaged) {
            let fill = exchange.on_order(order);
            portfolio.on_fill(fill);
            strategy.on_fill(fill);
        }
    }
    State {
        indicator,
        strategy,
        exchange,
        portfolio,
    }
}
