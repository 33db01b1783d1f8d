//! The builder's methods for asynchronous handlers.

use super::entry::{AsyncCommandEntry, AsyncQueryEntry};
use super::event::SingleAsyncSubscriber;
use super::{AsyncCommandHandler, AsyncEventHandler, AsyncQueryHandler, BusError};
use crate::builder::{AnyBus, BusBuilder, With};
use crate::handler::Function;
use crate::message::{Command, Event, Query};
use crate::table::InsertInto;

impl<T, O> BusBuilder<T, O> {
    /// Registers an asynchronous handler as the one handler of query `Q`. A second handler, synchronous or
    /// not, does not compile.
    ///
    /// Send the query with [`send_async`](crate::bus::Bus::send_async); `send` does not compile.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct GetRate;
    /// query!(GetRate -> f64);
    /// struct Convert(f64);
    /// query!(Convert -> f64);
    ///
    /// struct Converter;
    /// impl<B: AsyncSendQuery<GetRate>> AsyncQueryHandler<Convert, B> for Converter {
    ///     async fn handle(&self, query: Convert, bus: &B) -> Result<f64, BusError> {
    ///         Ok(query.0 * bus.send_async(GetRate).await?)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new()
    ///     .register_query_async::<Convert, _>(Converter)
    ///     .register_query_fn(|_: GetRate| 1.25) // answers both kinds of sends
    ///     .build();
    /// assert_eq!(bus.send_async(Convert(4.0)).await.unwrap(), 5.0);
    /// # }
    /// ```
    #[inline]
    pub fn register_query_async<Q: Query, H: AsyncQueryHandler<Q, AnyBus>>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, Q, AsyncQueryEntry<Q, H>>, O>
    where
        Q::NameKey: InsertInto<T, AsyncQueryEntry<Q, H>>,
    {
        self.insert::<Q, _>(AsyncQueryEntry::new(handler))
    }

    /// Registers a function or closure that returns a future as the one handler of query `Q`.
    ///
    /// The function itself runs when `send_async` is called, and its future when the answer is awaited.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Double(u32);
    /// query!(Double -> u32);
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new()
    ///     .register_query_async_fn(|query: Double| async move { Ok(query.0 * 2) })
    ///     .build();
    /// assert_eq!(bus.send_async(Double(21)).await.unwrap(), 42);
    /// # }
    /// ```
    #[inline]
    pub fn register_query_async_fn<Q: Query, F, Answer>(
        self,
        function: F,
    ) -> BusBuilder<With<T, Q, AsyncQueryEntry<Q, Function<F>>>, O>
    where
        Q::NameKey: InsertInto<T, AsyncQueryEntry<Q, Function<F>>>,
        F: Fn(Q) -> Answer,
        Answer: Future<Output = Result<Q::Response, BusError>> + Send,
    {
        self.insert::<Q, _>(AsyncQueryEntry::new(Function(function)))
    }

    /// Registers an asynchronous handler as the one handler of command `C`. A second handler, synchronous
    /// or not, does not compile.
    ///
    /// The handler returns `Result<(), BusError>` for every output type of the command.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Withdraw(u32);
    /// command!(Withdraw, name = "bank.withdraw");
    ///
    /// struct Account { limit: u32 }
    /// impl<B> AsyncCommandHandler<Withdraw, B> for Account {
    ///     async fn handle(&self, command: Withdraw, _bus: &B) -> Result<(), BusError> {
    ///         if command.0 > self.limit {
    ///             return Err(BusError::refused::<Withdraw>("over the limit"));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new()
    ///     .register_command_async::<Withdraw, _>(Account { limit: 100 })
    ///     .build();
    /// let error = bus.execute_async(Withdraw(101)).await.unwrap_err();
    /// assert_eq!(error.to_string(), "bank.withdraw: its handler failed: over the limit");
    /// # }
    /// ```
    #[inline]
    pub fn register_command_async<C: Command, H: AsyncCommandHandler<C, AnyBus>>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, C, AsyncCommandEntry<C, H>>, O>
    where
        C::NameKey: InsertInto<T, AsyncCommandEntry<C, H>>,
    {
        self.insert::<C, _>(AsyncCommandEntry::new(handler))
    }

    /// Registers a function or closure that returns a future as the one handler of command `C`.
    ///
    /// The function itself runs when `execute_async` is called, and its future when the call is awaited.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use static_bus::prelude::*;
    /// struct Deposit(u32);
    /// command!(Deposit);
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let balance = &AtomicU32::new(0);
    /// let bus = BusBuilder::new()
    ///     .register_command_async_fn(|command: Deposit| async move {
    ///         balance.fetch_add(command.0, Relaxed);
    ///         Ok(())
    ///     })
    ///     .build();
    /// bus.execute_async(Deposit(5)).await.unwrap();
    /// assert_eq!(balance.load(Relaxed), 5);
    /// # }
    /// ```
    #[inline]
    pub fn register_command_async_fn<C: Command, F, Done>(
        self,
        function: F,
    ) -> BusBuilder<With<T, C, AsyncCommandEntry<C, Function<F>>>, O>
    where
        C::NameKey: InsertInto<T, AsyncCommandEntry<C, Function<F>>>,
        F: Fn(C) -> Done,
        Done: Future<Output = Result<(), BusError>> + Send,
    {
        self.insert::<C, _>(AsyncCommandEntry::new(Function(function)))
    }

    /// Adds an asynchronous subscriber of event `E`. It starts after the subscribers registered before it,
    /// synchronous or not.
    ///
    /// Publish the event with [`publish_async`](crate::bus::Bus::publish_async); `publish` does not
    /// compile.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Clicked;
    /// event!(Clicked);
    ///
    /// #[derive(Default)]
    /// struct Clicks(AtomicU32);
    /// impl<B> AsyncEventHandler<Clicked, B> for Clicks {
    ///     async fn handle(&self, _: &Clicked, _bus: &B) -> Result<(), BusError> {
    ///         self.0.fetch_add(1, Relaxed);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let clicks = Clicks::default();
    /// let bus = BusBuilder::new().subscribe_async::<Clicked, _>(&clicks).build();
    /// bus.publish_async(&Clicked).await.unwrap();
    /// assert_eq!(clicks.0.load(Relaxed), 1);
    /// # }
    /// ```
    #[inline]
    pub fn subscribe_async<E: Event, H: AsyncEventHandler<E, AnyBus>>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, E, SingleAsyncSubscriber<E, H>>, O>
    where
        E::NameKey: InsertInto<T, SingleAsyncSubscriber<E, H>>,
    {
        self.insert::<E, _>(SingleAsyncSubscriber::of(handler))
    }

    /// Adds a function or closure that returns a future as a subscriber of event `E`. It starts after the
    /// subscribers registered before it, synchronous or not.
    ///
    /// The future cannot borrow the event: copy what it needs before the `async` block.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use static_bus::prelude::*;
    /// struct Renamed(String);
    /// event!(Renamed);
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let names = &Mutex::new(vec![]);
    /// let bus = BusBuilder::new()
    ///     .subscribe_async_fn(|event: &Renamed| {
    ///         let name = event.0.clone();
    ///         async move {
    ///             names.lock().unwrap().push(name);
    ///             Ok(())
    ///         }
    ///     })
    ///     .build();
    /// bus.publish_async(&Renamed("Ada".to_owned())).await.unwrap();
    /// assert_eq!(*names.lock().unwrap(), ["Ada"]);
    /// # }
    /// ```
    #[inline]
    pub fn subscribe_async_fn<E: Event, F, Done>(
        self,
        function: F,
    ) -> BusBuilder<With<T, E, SingleAsyncSubscriber<E, Function<F>>>, O>
    where
        E::NameKey: InsertInto<T, SingleAsyncSubscriber<E, Function<F>>>,
        F: Fn(&E) -> Done,
        Done: Future<Output = Result<(), BusError>> + Send,
    {
        self.insert::<E, _>(SingleAsyncSubscriber::of(Function(function)))
    }
}
