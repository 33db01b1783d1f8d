//! The peers, each in its own idiom, and as fast as its documentation allows.

mod mediator;
mod mediator_rs;
mod plain;
mod static_bus;
mod tower;

#[cfg(feature = "bevy")]
mod bevy;
#[cfg(feature = "kameo")]
mod kameo;
#[cfg(feature = "nautilus")]
mod nautilus;
#[cfg(feature = "ruststream")]
mod ruststream;

use crate::peer::Peer;

/// All peers of this build, the plain call first.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(plain::Plain::default()),
        Box::new(static_bus::StaticBus::new()),
        Box::new(tower::by_type()),
        Box::new(tower::boxed()),
        #[cfg(feature = "nautilus")]
        Box::new(nautilus::Parts::new()),
        #[cfg(feature = "nautilus")]
        Box::new(nautilus::Typed::new()),
        #[cfg(feature = "nautilus")]
        Box::new(nautilus::AnyBus::new()),
        #[cfg(feature = "bevy")]
        Box::new(bevy::Bevy::new()),
        Box::new(mediator::MediatorPeer::new()),
        Box::new(mediator_rs::MediatorRs::new()),
        #[cfg(feature = "kameo")]
        Box::new(kameo::Kameo::new(kameo::Command::Ask)),
        #[cfg(feature = "kameo")]
        Box::new(kameo::Kameo::new(kameo::Command::Tell)),
        #[cfg(feature = "ruststream")]
        Box::new(ruststream::RustStreamPeer::new()),
    ]
}

/// The runtime of the peers that need one: everything on one thread.
#[cfg(any(feature = "kameo", feature = "ruststream"))]
fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}
