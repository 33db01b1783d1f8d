//! The check before a position is opened. Closing a position is always allowed, without a check.

use static_bus::prelude::*;

use crate::messages::{CheckOrder, GetEquity, Verdict};

/// Refuses new positions when the equity is zero or negative. There is no margin.
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
