//! `MemoryBroker` keeps every promise that an engine within one process can keep.

use static_bus_conformance::{Capabilities, Harness};
use static_bus_remote::MemoryBroker;

struct Memory(MemoryBroker);

impl Harness for Memory {
    type Transport = MemoryBroker;

    async fn connect(&self) -> MemoryBroker {
        self.0.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::IN_PROCESS
    }
}

static_bus_conformance::conformance_tests!(Memory(MemoryBroker::new()));
