//! Decides whether a position may be opened. Closing one is always allowed, and never asked.

use static_bus::prelude::*;

use crate::messages::{CheckOrder, GetEquity, Verdict};

/// Refuses new positions once the account is worth nothing. There is no margin to run out of.
pub struct Risk;

impl<B> QueryHandler<CheckOrder, B> for Risk
where
    B: SendQuery<GetEquity>,
{
    fn handle(&self, order: CheckOrder, bus: &B) -> Verdict {
        if order.units.is_finite() && bus.send(GetEquity) > 0.0 {
            Verdict::Accepted
        } else {
            Verdict::Rejected
        }
    }
}
