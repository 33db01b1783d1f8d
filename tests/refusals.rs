//! The guarantees of the layers `Authorized` and `Validated`, one test for each.
#![cfg(feature = "async")]

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use static_bus::asynchronous::BusError;
use static_bus::layer::{Authorized, Layered, Policy, Requires, Validate, Validated};
use static_bus::message::PublishError;
use static_bus::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is required")]
struct Denied(Role);
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("quantity 0")]
struct NoQuantity;
#[derive(Debug, PartialEq, thiserror::Error)]
enum OrderError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Invalid(#[from] NoQuantity),
    #[error("out of stock")]
    OutOfStock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Guest,
    Clerk,
    Manager,
}

/// The role of the current thread.
#[derive(Clone)]
struct RoleOfThread;
thread_local! { static ROLE: Cell<Role> = const { Cell::new(Role::Guest) }; }
impl Policy for RoleOfThread {
    type Permission = Role;
    type Error = Denied;
    fn check(&self, required: Role) -> Result<(), Denied> {
        granted(ROLE.get(), required)
    }
}
fn granted(role: Role, required: Role) -> Result<(), Denied> {
    (role >= required).then_some(()).ok_or(Denied(required))
}

/// The role of the current task.
#[derive(Clone)]
struct RoleOfTask;
tokio::task_local! { static TASK_ROLE: Role; }
impl Policy for RoleOfTask {
    type Permission = Role;
    type Error = Denied;
    fn check(&self, required: Role) -> Result<(), Denied> {
        let role = TASK_ROLE.try_with(|role| *role).unwrap_or(Role::Guest);
        granted(role, required)
    }
}

struct PlaceOrder {
    quantity: u32,
}
command!(PlaceOrder -> Result<(), OrderError>, name = "place_order");
struct Price {
    quantity: u32,
}
query!(Price -> Result<u32, OrderError>, name = "price");
struct Placed {
    quantity: u32,
}
event!(Placed -> Result<(), OrderError>, name = "placed");
/// Its error is the one of the policy itself.
struct Cancel;
command!(Cancel -> Result<(), Denied>, name = "cancel");

macro_rules! rules {
    ($($M:ident)*) => { $(
        impl Requires<Role> for $M {
            /// Large orders are a matter of the manager.
            fn requires(&self) -> Role {
                if self.quantity > 100 { Role::Manager } else { Role::Clerk }
            }
        }
        impl Validate for $M {
            type Error = NoQuantity;
            fn validate(&self) -> Result<(), NoQuantity> {
                (self.quantity > 0).then_some(()).ok_or(NoQuantity)
            }
        }
    )* };
}
rules!(PlaceOrder Price Placed);
impl Requires<Role> for Cancel {
    fn requires(&self) -> Role {
        Role::Clerk
    }
}

#[test]
fn a_handler_runs_only_if_the_policy_grants_what_the_message_requires() {
    let ran = RefCell::new(Vec::new());
    let bus = BusBuilder::new()
        .register_command_fn(|c: PlaceOrder| {
            ran.borrow_mut().push(c.quantity);
            Ok(())
        })
        .register_query_fn(|q: Price| Ok(q.quantity * 3))
        .register_command_fn(|_: Cancel| Ok(()))
        .layer(Authorized::new(RoleOfThread))
        .build();
    let refused = |role| Err(OrderError::Denied(Denied(role)));

    ROLE.set(Role::Guest);
    assert_eq!(
        bus.execute(PlaceOrder { quantity: 1 }),
        refused(Role::Clerk)
    );
    assert_eq!(bus.execute(Cancel), Err(Denied(Role::Clerk)));
    let price = bus.send::<Price>(Price { quantity: 1 });
    assert_eq!(price, Err(OrderError::Denied(Denied(Role::Clerk))));

    ROLE.set(Role::Clerk);
    assert_eq!(bus.execute(PlaceOrder { quantity: 2 }), Ok(()));
    assert_eq!(
        bus.execute(PlaceOrder { quantity: 200 }),
        refused(Role::Manager)
    );
    assert_eq!(bus.execute(Cancel), Ok(()));
    assert_eq!(bus.send::<Price>(Price { quantity: 2 }), Ok(6));

    ROLE.set(Role::Manager);
    assert_eq!(bus.execute(PlaceOrder { quantity: 200 }), Ok(()));
    assert_eq!(*ran.borrow(), [2, 200]);
}

#[test]
fn an_invalid_message_does_not_reach_its_handler() {
    let ran = Cell::new(0);
    let bus = BusBuilder::new()
        .register_command_fn(|_: PlaceOrder| {
            ran.set(ran.get() + 1);
            Err(OrderError::OutOfStock)
        })
        .register_query_fn(|q: Price| Ok(q.quantity * 3))
        .layer(Validated)
        .build();
    let invalid = OrderError::Invalid(NoQuantity);
    assert_eq!(bus.execute(PlaceOrder { quantity: 0 }), Err(invalid));
    assert_eq!(ran.get(), 0);
    let own = Err(OrderError::OutOfStock);
    assert_eq!(bus.execute(PlaceOrder { quantity: 1 }), own);
    assert_eq!(ran.get(), 1);
    let price = bus.send::<Price>(Price { quantity: 0 });
    assert_eq!(price, Err(OrderError::Invalid(NoQuantity)));
    assert_eq!(bus.send::<Price>(Price { quantity: 2 }), Ok(6));
}

#[test]
fn each_subscriber_of_a_refused_event_reports_the_refusal() {
    let ran = Cell::new(0);
    let subscriber = |_: &Placed| {
        ran.set(ran.get() + 1);
        Ok(())
    };
    let bus = BusBuilder::new()
        .subscribe_fn(subscriber)
        .subscribe_fn(subscriber)
        .layer(Validated)
        .subscribe_fn(subscriber)
        .build();
    let error = bus.publish(&Placed { quantity: 0 }).unwrap_err();
    let failures: Vec<_> = error.failures().iter().map(|f| f.position).collect();
    assert_eq!(failures, [0, 1]);
    assert_eq!(error.failures()[0].error, OrderError::Invalid(NoQuantity));
    assert_eq!(ran.get(), 1, "the subscriber after the layer");

    assert!(bus.publish(&Placed { quantity: 1 }).is_ok());
    assert_eq!(ran.get(), 4);
}

#[test]
fn the_outer_of_two_layers_is_the_first_to_refuse() {
    ROLE.set(Role::Guest);
    let bus = BusBuilder::new()
        .register_command_fn(|_: PlaceOrder| Ok(()))
        .layer(Validated)
        .layer(Authorized::new(RoleOfThread))
        .build();
    let denied = OrderError::Denied(Denied(Role::Clerk));
    assert_eq!(bus.execute(PlaceOrder { quantity: 0 }), Err(denied));
    ROLE.set(Role::Clerk);
    let invalid = OrderError::Invalid(NoQuantity);
    assert_eq!(bus.execute(PlaceOrder { quantity: 0 }), Err(invalid));
}

#[test]
fn a_message_that_a_handler_sends_is_checked_as_well() {
    struct Clerk;
    impl<B: ExecuteCommand<PlaceOrder>> CommandHandler<Cancel, B> for Clerk {
        fn handle(&self, _: Cancel, bus: &B) -> Result<(), Denied> {
            let order = bus.execute(PlaceOrder { quantity: 200 });
            assert_eq!(order, Err(OrderError::Denied(Denied(Role::Manager))));
            Ok(())
        }
    }
    ROLE.set(Role::Clerk);
    let bus = BusBuilder::new()
        .register_command(Clerk)
        .register_command_fn(|_: PlaceOrder| Ok(()))
        .layer(Authorized::new(RoleOfThread))
        .build();
    assert_eq!(bus.execute(Cancel), Ok(()));
}

/// Grants everything, and counts.
#[derive(Default)]
struct Counting(Cell<u32>);
impl Policy for Counting {
    type Permission = Role;
    type Error = Denied;
    fn check(&self, _: Role) -> Result<(), Denied> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

#[test]
fn a_policy_is_shared_by_reference_rc_or_arc_and_asked_once_for_each_call() {
    fn asked<P: Policy<Permission = Role, Error = Denied> + Clone>(policy: P) {
        let bus = BusBuilder::new()
            .register_command_fn(|_: Cancel| Ok(()))
            .register_command_fn(|_: PlaceOrder| Ok(()))
            .layer(Authorized::new(policy))
            .build();
        bus.execute(Cancel).unwrap();
        bus.execute(PlaceOrder { quantity: 1 }).unwrap();
    }
    let counting = Rc::new(Counting::default());
    asked(&*counting);
    assert_eq!(counting.0.get(), 2);
    asked(Rc::clone(&counting));
    assert_eq!(counting.0.get(), 4);
    asked(Arc::new(RoleOfManager));
}
struct RoleOfManager;
impl Policy for RoleOfManager {
    type Permission = Role;
    type Error = Denied;
    fn check(&self, required: Role) -> Result<(), Denied> {
        granted(Role::Manager, required)
    }
}

struct Orders;
impl<B> CommandHandler<PlaceOrder, B> for Orders {
    fn handle(&self, _: PlaceOrder, _bus: &B) -> Result<(), OrderError> {
        Ok(())
    }
}
module! { struct Shop { orders: Orders => [command PlaceOrder] } }

#[test]
fn a_bus_within_the_layers_can_be_named() {
    ROLE.set(Role::Clerk);
    let bus: BusOf<Layered<Layered<Shop, Validated>, Authorized<RoleOfThread>>> = BusBuilder::new()
        .mount(
            Shop { orders: Orders }
                .layer(Validated)
                .layer(Authorized::new(RoleOfThread)),
        )
        .build();
    assert!(bus.execute(PlaceOrder { quantity: 1 }).is_ok());
}

#[test]
fn layers_around_an_empty_bus_do_nothing() {
    let bus = BusBuilder::new()
        .layer(Validated)
        .layer(Authorized::new(RoleOfThread))
        .build();
    assert!(bus.publish(&Placed { quantity: 0 }).is_ok());
}

/// The refusal's own error within a [`BusError`] that is not retryable.
fn refusal<E: Error + Copy + 'static>(result: Result<(), BusError>) -> E {
    let error = result.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    *error
        .source()
        .expect("a refusal has a source")
        .downcast_ref()
        .expect("the source is the error of the policy or of the message")
}

#[tokio::test]
async fn asynchronous_handlers_are_refused_with_a_source_and_without_retry() {
    let ran = std::sync::atomic::AtomicU32::new(0);
    let count = || {
        ran.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: PlaceOrder| {
            count();
            async { Ok(()) }
        })
        .register_query_async_fn(|q: Price| async move { Ok(Ok(q.quantity * 3)) })
        .subscribe_async_fn(|_: &Placed| {
            count();
            async { Ok(()) }
        })
        .layer(Validated)
        .layer(Authorized::new(RoleOfTask))
        .build();
    let order = |quantity| bus.execute_async(PlaceOrder { quantity });

    assert_eq!(
        refusal::<Denied>(order(1).await),
        Denied(Role::Clerk),
        "outside of a scope"
    );
    TASK_ROLE
        .scope(Role::Clerk, async {
            order(1).await.unwrap();
            assert_eq!(refusal::<Denied>(order(200).await), Denied(Role::Manager));
            assert_eq!(refusal::<NoQuantity>(order(0).await), NoQuantity);
            let error = order(0).await.unwrap_err().to_string();
            assert_eq!(error, "place_order: its handler failed: quantity 0");
            let price = |quantity| bus.send_async(Price { quantity });
            assert_eq!(price(2).await.unwrap().unwrap(), 6);
            let refused = price(0).await.map(|_| ());
            assert_eq!(refusal::<NoQuantity>(refused), NoQuantity);

            bus.publish_async(&Placed { quantity: 1 }).await.unwrap();
            let error = bus
                .publish_async(&Placed { quantity: 0 })
                .await
                .unwrap_err();
            assert!(!error.is_retryable());
            let failures: &PublishError<BusError> = error.source().unwrap().downcast_ref().unwrap();
            assert!(failures.to_string().ends_with("failed: quantity 0"));
        })
        .await;
    assert_eq!(ran.into_inner(), 2);
}

#[tokio::test]
async fn the_policy_is_asked_when_an_asynchronous_call_is_first_polled() {
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Cancel| async { Ok(()) })
        .layer(Authorized::new(RoleOfTask))
        .build();
    let call = bus.execute_async(Cancel);
    TASK_ROLE.scope(Role::Clerk, call).await.unwrap();
}

#[tokio::test]
async fn an_asynchronous_call_of_a_synchronous_handler_carries_the_messages_own_error() {
    let bus = BusBuilder::new()
        .register_command_fn(|_: PlaceOrder| Ok(()))
        .layer(Validated)
        .build();
    let error = bus
        .execute_async(PlaceOrder { quantity: 0 })
        .await
        .unwrap_err();
    let source: &OrderError = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(*source, OrderError::Invalid(NoQuantity));
}

#[test]
fn the_future_of_a_call_through_the_layers_is_sent_to_another_thread() {
    fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: PlaceOrder| async { Ok(()) })
        .layer(Validated)
        .layer(Authorized::new(RoleOfTask))
        .build();
    drop(is_send(bus.execute_async(PlaceOrder { quantity: 1 })));
}
