//! Found by `cargo build`, which trybuild runs if programs that must compile are among its cases.
use static_bus::asynchronous::BusError;
use static_bus::prelude::*;

struct Chain;
/// Queries, each of whose handlers sends the next one.
macro_rules! chain {
    ($last:ident) => {
        struct $last;
        query!($last -> u32);
        impl<B> AsyncQueryHandler<$last, B> for Chain {
            async fn handle(&self, _: $last, _bus: &B) -> Result<u32, BusError> {
                Ok(7)
            }
        }
    };
    ($first:ident $next:ident $($rest:ident)*) => {
        struct $first;
        query!($first -> u32);
        impl<B: AsyncSendQuery<$next>> AsyncQueryHandler<$first, B> for Chain {
            async fn handle(&self, _: $first, bus: &B) -> Result<u32, BusError> {
                bus.send_async($next).await
            }
        }
        chain!($next $($rest)*);
    };
}
macro_rules! bus_of {
    ($($query:ident)*) => {
        chain!($($query)*);
        fn main() {
            let bus = BusBuilder::new()$(.register_query_async::<$query, _>(Chain))*.build();
            drop(bus.send_async(Q00));
        }
    };
}
bus_of! {
    Q00 Q01 Q02 Q03 Q04 Q05 Q06 Q07 Q08 Q09
    Q10 Q11 Q12 Q13 Q14 Q15 Q16 Q17 Q18 Q19
    Q20 Q21 Q22 Q23 Q24 Q25 Q26 Q27 Q28 Q29
}
