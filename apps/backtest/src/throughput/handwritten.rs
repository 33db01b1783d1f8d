//! The baseline: one struct with plain fields, and direct calls.

use super::{
    measure::Stretch,
    model::{State, direction, fill, within_limits},
    ticks::Tick,
};

impl State {
    #[inline]
    fn on_tick(&mut self, tick: &Tick) {
        let Tick { symbol, price, .. } = *tick;
        let averages = &mut self.averages[symbol];
        let holding = &mut self.holdings[symbol];

        averages.push(tick);
        let equity = self.account.mark(holding, price);
        self.statistics.mark(equity);

        let units = direction(averages.spread());
        if !within_limits(units, holding.units, equity) {
            self.decisions.refused += 1;
            return;
        }
        self.decisions.ordered += 1;
        let fill = fill(symbol, units, price);
        self.account.book(holding, &fill);
        self.statistics.fill(&fill);
    }
}

pub fn run(state: &mut State, stretch: Stretch) {
    let mut book = *state;
    stretch.drive(|tick| book.on_tick(tick));
    *state = book;
}
