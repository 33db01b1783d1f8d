//! The contract of broker engines.
//!
//! An engine moves [`Record`]s from producers to consumers. It knows nothing of messages, handlers or retries:
//! client and worker are written once, for all engines. The crate `static-bus-conformance` tests the contract; the
//! guide's page *Writing an engine* says in which order to implement it.

mod error;
mod inspect;
mod key;
mod record;
mod subscription;
mod transactional;

use std::{error::Error, fmt, hash::Hash, sync::Arc, time::Duration};

pub use error::{TransportError, TransportErrorKind};
pub use inspect::{GroupState, Inspect, MemberState, TopicState, UnsettledRecord};
pub use key::{key_from_bytes, key_to_bytes};
pub use record::{DeadLetterRecord, Due, DueTime, Kind, Record, Scope, Topic};
pub use subscription::{Backlog, Claim, Delivery, Lease, Subscription};
pub use transactional::Transactional;

/// The time for which queries are accepted after the last receiver of their topic has closed or disappeared: a worker
/// that restarts, or is replaced during a deployment, finds them. 30 s.
///
/// An engine may have a setting for it, with this default.
pub const RECEIVER_GRACE: Duration = Duration::from_secs(30);

/// The number of bytes by which a dead letter may be larger than the message in it: the error, the origin, and the
/// message's attributes as one of its own. 16 KiB.
///
/// An engine with a limit for the size of a record adds this to the limit of dead letters, where the broker allows it.
pub const DEAD_LETTER_HEADROOM: usize = 16 * 1024;

/// A broker engine: a handle to one broker, cheap to clone.
///
/// Every method has a deadline, which the engine sets: none waits for a broker that is gone.
pub trait Transport: Clone + Send + Sync + 'static {
    /// A member of a group of a command or an event. Delivery is at least once.
    type Consumer: Consumer;

    /// A reader of queries or replies. Delivery is at most once.
    type Receiver: Receiver;

    /// The address of the broker for errors and logs, without secrets: `redis://127.0.0.1:6379`.
    fn address(&self) -> &str;

    /// Checks that the broker is reachable and accepts requests.
    fn check(&self) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// What an operator should know of the broker before calls fail, one line each, with the remedy and without secrets: a
    /// transaction of a database that has been open for minutes, for instance. Default: nothing.
    fn warnings(&self) -> impl Future<Output = Vec<String>> + Send {
        std::future::ready(Vec::new())
    }

    /// Appends records, in order, in as few round trips as the broker allows. Returns one result for each record:
    /// `Ok` when the broker has it, with the durability that the broker offers.
    ///
    /// Records with one topic and one key are consumed in the order in which they were appended.
    /// An event may be dropped while its topic has no group. A record that is larger than the broker accepts is
    /// refused with [`TooLarge`](TransportErrorKind::TooLarge), and the others are not; the text names the size and
    /// the limit. Dead letters have [`DEAD_LETTER_HEADROOM`].
    ///
    /// A query is refused with [`NoReceiver`](TransportErrorKind::NoReceiver) if the engine knows that its topic has
    /// had no open receiver for [`RECEIVER_GRACE`], or has never had one. From the return of
    /// [`listen`](Transport::listen) on, before the first `receive`, queries are accepted. An engine that cannot know,
    /// or may have lost its knowledge with the broker's data, accepts.
    ///
    /// A record that is [due](Record::due) later is kept with the same durability, and then takes its place at the end of
    /// its topic, as if it were appended at that moment: never earlier by the clock of the broker, and within a second
    /// while a consumer of the topic is open, otherwise when the next one opens. Records of one key do so in the order in
    /// which they are due, and at the same time in the order of their appends. It takes O(batch) work, however many
    /// records are scheduled. An engine that cannot [schedule](Transport::check_scheduling) refuses them, and so does
    /// every engine for other topics than those of commands and events.
    fn append(
        &self,
        records: Vec<(Topic, Record)>,
    ) -> impl Future<Output = Vec<Result<(), TransportError>>> + Send;

    /// Keeps a record with the output of the attempt that sends it, its [scope](Record::scope), and returns the result. `None` if the
    /// record is to be appended. It never waits.
    ///
    /// For engines whose attempts may hold what [`append`](Transport::append) waits for, such as the lock of a database.
    fn keep(&self, topic: &Topic, record: &Record) -> Option<Result<(), TransportError>> {
        _ = (topic, record);
        None
    }

    /// Joins a group of a [command](Kind::Command) or an [event](Kind::Event), and creates group and topic where
    /// they are missing. From then on the group gets every record of the topic, also while it has no member.
    ///
    /// A new group of a command begins with the oldest record, one of an event with the next.
    ///
    /// # Errors
    /// [`Refused`](TransportErrorKind::Refused) for a topic of another kind.
    fn consume(
        &self,
        subscription: Subscription,
    ) -> impl Future<Output = Result<Self::Consumer, TransportError>> + Send;

    /// Opens a receiver of a topic of [queries](Kind::Query) or [replies](Kind::Reply). All receivers of one
    /// topic share its records.
    ///
    /// # Errors
    /// [`Refused`](TransportErrorKind::Refused) for a topic of another kind.
    fn listen(
        &self,
        topic: Topic,
    ) -> impl Future<Output = Result<Self::Receiver, TransportError>> + Send;

    /// Up to `limit` dead letters with positions greater than `after`, the oldest first. Fewer may be followed by more: an answer
    /// is empty if there are none.
    fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetterRecord>, TransportError>> + Send;

    /// Removes dead letters by their position. Those that are gone already are no error.
    fn remove_dead_letters(
        &self,
        positions: &[String],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Checks that the engine accepts records that are [due](Record::due) later. Default: it does not.
    ///
    /// # Errors
    /// [`Refused`](TransportErrorKind::Refused), with the remedy.
    fn check_scheduling(&self) -> Result<(), TransportError> {
        Err(TransportError::not_scheduled(self.address()))
    }

    /// Removes the record of a topic that is not due yet and has this [cancellation key](Due::key). Returns `true` if
    /// there was one: it is never delivered. Default: as [`check_scheduling`](Transport::check_scheduling).
    fn cancel(
        &self,
        topic: &Topic,
        key: &str,
    ) -> impl Future<Output = Result<bool, TransportError>> + Send {
        _ = (topic, key);
        let refused = self.check_scheduling();
        async move { refused.map(|()| false) }
    }

    /// Keeps a [cancellation](Transport::cancel) with the output of an attempt, and returns the result. `None` if it is to be made at
    /// once. It never waits.
    ///
    /// For engines that [keep](Transport::keep) records.
    fn keep_cancellation(
        &self,
        scope: &Scope,
        topic: &Topic,
        key: &str,
    ) -> Option<Result<(), TransportError>> {
        _ = (scope, topic, key);
        None
    }
}

/// A reader of a topic of queries or replies.
///
/// Each record goes to one receiver, at most once, and is gone then. A record that has
/// [expired](Record::expires) is dropped. The order of keys is not kept.
pub trait Receiver: Send + Sync + 'static {
    /// Waits until there are records, but no longer than `wait`, and returns up to `max` of them.
    ///
    /// Cancel safe: a future that is dropped loses no record. Called by one task at a time.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Arc<Record>>, TransportError>> + Send;

    /// Ends the receiver. Records that were read ahead and not returned by `receive` go to other receivers, where
    /// the broker allows it.
    fn close(&self) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// A member of a group. One task receives, other tasks settle received records meanwhile.
///
/// A consumer holds a *lease* of each record that it has received: for [`Subscription::lease`] no other member
/// gets the record. A lease is renewed, or ends with `acknowledge` or `release`. When it runs out, because its
/// holder is gone, another member gets the record.
///
/// All records of one key go to one member at a time. That member may get the next record of a key before it has
/// settled the one before, and keeps the order itself. No other member gets records of the key until all are
/// settled.
pub trait Consumer: Send + Sync + 'static {
    /// The name of a delivery.
    type Receipt: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static;

    /// Waits until there are records, but no longer than `wait`, and returns up to `max` of them.
    ///
    /// Cancel safe: a future that is dropped loses no record. A record that it was about to return is delivered
    /// again, at the latest when its lease runs out. Called by one task at a time.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Receipt>>, TransportError>> + Send;

    /// Claims each deduplication key for the length of a lease, in order, atomically for each.
    ///
    /// A key is claimed within the group. It is held until `acknowledge` confirms it, `release` gives
    /// it up, or the lease runs out.
    fn claim(
        &self,
        keys: &[Arc<str>],
    ) -> impl Future<Output = Result<Vec<Claim>, TransportError>> + Send;

    /// Ends leases of records that are done: no member gets these records again.
    ///
    /// Their deduplication keys are confirmed, for [`Subscription::deduplication`], also those whose lease has run
    /// out meanwhile: the record was handled, if late. A key is confirmed before or together with its record,
    /// never after.
    fn acknowledge(
        &self,
        leases: &[Lease<Self::Receipt>],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// The location of a record in the terms of the broker's operators, for dead letters: `partition 3, offset
    /// 1042`. `None` where there is no such term.
    fn place(&self, receipt: &Self::Receipt) -> Option<String> {
        _ = receipt;
        None
    }

    /// Begins an attempt to handle a record. The [scope](Record::scope) of the records that the handler sends. For
    /// engines that keep the output of an attempt until its record is acknowledged.
    ///
    /// A new attempt ends the one before, and so do `acknowledge` and `release`.
    fn begin(&self, receipt: &Self::Receipt) -> Option<Scope> {
        _ = receipt;
        None
    }

    /// `true` if the attempts of this consumer are to be [finished](Consumer::finish).
    const FINISHES: bool = false;

    /// Ends an attempt whose handler has succeeded. If this fails, the attempt has failed.
    ///
    /// For engines in which the effects of an attempt are part of a transaction: it commits before the record is acknowledged.
    fn finish(
        &self,
        lease: &Lease<Self::Receipt>,
        scope: &Scope,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        _ = (lease, scope);
        std::future::ready(Ok(()))
    }

    /// The failure of the broker behind an error of a handler, or behind one of its sources. `None` if the error is the handler's
    /// own. If all failures of an attempt are of the broker, and one is transient, it does not count.
    ///
    /// For engines whose attempts are transactions in which handlers run statements of their own.
    fn failure(&self, scope: &Scope, error: &(dyn Error + 'static)) -> Option<TransportError> {
        _ = (scope, error);
        None
    }

    /// Renews leases and claims from now on. Those that are lost already are no error.
    fn renew(
        &self,
        leases: &[Lease<Self::Receipt>],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Gives records and their claims up, undone. Another member gets them at once, or the same one where the
    /// engine assigns partitions to members. The delivery does not count as an attempt. Of a record that is
    /// acknowledged already, the claim is given up all the same.
    fn release(
        &self,
        leases: &[Lease<Self::Receipt>],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Leaves the group. Records that are not settled are released.
    fn close(&self) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// The number and age of the records that the group has not settled.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, TransportError>> + Send;
}
