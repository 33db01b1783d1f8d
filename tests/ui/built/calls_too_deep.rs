use static_bus::prelude::*;

struct Chain;
/// Queries, each of whose handlers sends the next one.
macro_rules! chain {
    ($last:ident) => {
        struct $last;
        query!($last -> u32);
        impl<B> QueryHandler<$last, B> for Chain {
            fn handle(&self, _: $last, _bus: &B) -> u32 {
                7
            }
        }
    };
    ($first:ident $next:ident $($rest:ident)*) => {
        struct $first;
        query!($first -> u32);
        impl<B: SendQuery<$next>> QueryHandler<$first, B> for Chain {
            fn handle(&self, _: $first, bus: &B) -> u32 {
                bus.send($next)
            }
        }
        chain!($next $($rest)*);
    };
}
macro_rules! bus_of {
    ($($query:ident)*) => {
        chain!($($query)*);
        fn main() {
            let bus = BusBuilder::new()$(.register_query::<$query, _>(Chain))*.build();
            bus.send(Q00);
        }
    };
}
bus_of! {
    Q00 Q01 Q02 Q03 Q04 Q05 Q06 Q07 Q08 Q09
    Q10 Q11 Q12 Q13 Q14 Q15 Q16 Q17 Q18 Q19
    Q20 Q21 Q22 Q23 Q24 Q25 Q26 Q27 Q28 Q29
    Q30 Q31 Q32 Q33 Q34 Q35 Q36 Q37 Q38 Q39
    Q40 Q41 Q42 Q43 Q44 Q45 Q46 Q47 Q48 Q49
    Q50 Q51 Q52 Q53 Q54 Q55 Q56 Q57 Q58 Q59
    Q60 Q61 Q62 Q63 Q64 Q65 Q66 Q67 Q68 Q69
    Q70 Q71 Q72 Q73 Q74 Q75 Q76 Q77 Q78 Q79
    Q80 Q81 Q82 Q83 Q84 Q85 Q86 Q87 Q88 Q89
    Q90 Q91 Q92 Q93 Q94 Q95 Q96 Q97 Q98 Q99
}
