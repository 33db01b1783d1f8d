//! The broker in this process keeps every promise that an engine can keep without a process of its own.

use static_bus_conformance::Harness;
use static_bus_remote::MemoryBroker;

struct Memory(MemoryBroker);

impl Harness for Memory {
    type Transport = MemoryBroker;

    async fn connect(&self) -> MemoryBroker {
        self.0.clone()
    }
}

static_bus_conformance::conformance_tests!(Memory(MemoryBroker::new()));
