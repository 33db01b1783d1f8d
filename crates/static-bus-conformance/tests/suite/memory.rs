//! `MemoryBroker` keeps every promise that an engine within one process can keep.

use std::time::Duration;

use static_bus_conformance::{Capabilities, Harness};
use static_bus_remote::MemoryBroker;

const GRACE: Duration = Duration::from_secs(2);
const MAX_RECORD: usize = 2 << 20;

struct Memory(MemoryBroker);

impl Memory {
    fn new() -> Self {
        let broker = MemoryBroker::builder().receiver_grace(GRACE);
        Memory(broker.max_record(MAX_RECORD).build())
    }
}

impl Harness for Memory {
    type Transport = MemoryBroker;

    async fn connect(&self) -> MemoryBroker {
        self.0.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::IN_PROCESS
            .with_receiver_grace(GRACE)
            .with_max_record(MAX_RECORD)
    }
}

/// Among names that mean something else, or nothing, to the macro's user.
mod suite {
    #![no_implicit_prelude]
    #![allow(non_camel_case_types, unused)]

    use ::tokio::test;
    mod core {}
    mod static_bus_conformance {}
    struct str;
    macro_rules! stringify {
        ($($any:tt)*) => {
            ::core::compile_error!("a macro of the user's")
        };
    }
    ::static_bus_conformance::conformance_tests!(|_case| super::Memory::new());
    ::static_bus_conformance::inspection_tests!(super::Memory::new());
    ::static_bus_conformance::scheduling_tests!(super::Memory::new());
}
