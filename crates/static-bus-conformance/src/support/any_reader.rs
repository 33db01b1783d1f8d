//! A reader of a topic of any kind.

use std::{sync::Arc, time::Duration};

use super::{member::Member, reader::Listener};
use static_bus_remote::transport::{Consumer, Delivery, Record, Transport};

/// A reader of a topic of any kind, for promises that all kinds share. Received records are acknowledged.
pub enum AnyReader<T: Transport> {
    Member(Member<T::Consumer>),
    Listener(Listener<T::Receiver>),
}

impl<T: Transport> AnyReader<T> {
    pub async fn receive(&self, max: usize, wait: Duration) -> Vec<Arc<Record>> {
        match self {
            AnyReader::Listener(listener) => listener.receive(max, wait).await,
            AnyReader::Member(member) => {
                acknowledged(member, member.receive(max, wait).await).await
            }
        }
    }

    pub async fn take(&self, n: usize) -> Vec<Arc<Record>> {
        match self {
            AnyReader::Listener(listener) => listener.take(n).await,
            AnyReader::Member(member) => acknowledged(member, member.take(n).await).await,
        }
    }
}

async fn acknowledged<C: Consumer>(
    member: &Member<C>,
    got: Vec<Delivery<C::Receipt>>,
) -> Vec<Arc<Record>> {
    for delivery in &got {
        assert_eq!(delivery.attempt, 1, "delivered for the first time");
    }
    member.acknowledge(&got).await;
    got.into_iter().map(|delivery| delivery.record).collect()
}
