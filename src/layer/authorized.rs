//! Authorization: a policy decides whether the caller may send a message.

use super::Layer;
use super::examine::{Examine, examining};
use crate::wiring::Registration;
#[cfg(feature = "alloc")]
use alloc::{rc::Rc, sync::Arc};

/// A layer that runs a handler only if policy `P` grants what the message requires.
///
/// - Each message within the layer implements [`Requires`]. One that does not is a compile error, so a new message cannot
///   be forgotten.
/// - The policy is asked before each call of a handler, hence once for each subscriber of an event. It is cloned for
///   each handler, when the layer is added.
/// - A refusal is the message's own result: an output `Result<(), E>` or a response `Result<T, E>`, where `E` implements
///   `From` of the policy's error. A message with another result is a compile error.
/// - An asynchronous call of an asynchronous handler returns `BusError::refused`, with the policy's error as its
///   source. It is not retryable. The policy is asked when the call's future is first polled.
/// - An asynchronous call of a synchronous handler returns `BusError::rejected`, as
///   for each error of such a handler: a worker calls it again before it makes a dead letter.
///
/// Messages that a handler sends are checked as well, with the permissions that the caller has then.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::{layer::{Authorized, Policy, Requires}, prelude::*};
///
/// thread_local! { static ROLE: Cell<Role> = const { Cell::new(Role::Guest) }; }
///
/// #[derive(Clone, Copy, PartialEq, PartialOrd)]
/// enum Role { Guest, Clerk }
/// #[derive(Debug, PartialEq)]
/// struct Denied;
///
/// #[derive(Clone)]
/// struct RoleOfThread;
/// impl Policy for RoleOfThread {
///     type Permission = Role;
///     type Error = Denied;
///     fn check(&self, required: Role) -> Result<(), Denied> {
///         if ROLE.get() >= required { Ok(()) } else { Err(Denied) }
///     }
/// }
///
/// struct CancelOrder;
/// command!(CancelOrder -> Result<(), Denied>);
/// impl Requires<Role> for CancelOrder {
///     fn requires(&self) -> Role { Role::Clerk }
/// }
///
/// let bus = BusBuilder::new()
///     .register_command_fn(|_: CancelOrder| Ok(()))
///     .layer(Authorized::new(RoleOfThread))
///     .build();
/// assert_eq!(bus.execute(CancelOrder), Err(Denied));
/// ROLE.set(Role::Clerk);
/// assert_eq!(bus.execute(CancelOrder), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Authorized<P>(P);

impl<P: Policy> Authorized<P> {
    /// The layer of a policy.
    pub const fn new(policy: P) -> Self {
        Authorized(policy)
    }
}

/// The decision whether the caller has a permission. Also implemented for `&P`, `Rc<P>` and `Arc<P>`.
///
/// A policy finds the caller where the program keeps it: in a thread local, or in a local of the asynchronous task.
///
/// ```
/// use static_bus::layer::Policy;
///
/// /// Permits reading.
/// struct ReadOnly;
/// #[derive(PartialEq)]
/// enum Access { Read, Write }
/// impl Policy for ReadOnly {
///     type Permission = Access;
///     type Error = &'static str;
///     fn check(&self, required: Access) -> Result<(), &'static str> {
///         if required == Access::Read { Ok(()) } else { Err("read-only") }
///     }
/// }
/// assert_eq!(ReadOnly.check(Access::Write), Err("read-only"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a policy",
    label = "not a policy",
    note = "implement `static_bus::layer::Policy` for it"
)]
pub trait Policy {
    /// What a message can require, for example a role or a right on an account.
    type Permission;
    /// The reason of a refusal.
    type Error;
    /// Checks that the caller has the `required` permission.
    ///
    /// # Errors
    /// The caller does not have it.
    fn check(&self, required: Self::Permission) -> Result<(), Self::Error>;
}

/// A message that says which permission its caller needs.
///
/// The permission may depend on the fields of the message.
///
/// ```
/// use static_bus::{layer::Requires, prelude::*};
///
/// #[derive(Debug, PartialEq)]
/// enum Permission { OwnerOf(u32), Anyone }
///
/// struct Withdraw { account: u32, cents: u64 }
/// command!(Withdraw -> Result<(), String>);
/// impl Requires<Permission> for Withdraw {
///     fn requires(&self) -> Permission {
///         if self.cents == 0 { Permission::Anyone } else { Permission::OwnerOf(self.account) }
///     }
/// }
/// assert_eq!(Withdraw { account: 7, cents: 100 }.requires(), Permission::OwnerOf(7));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what it requires",
    label = "`{Self}` has no required permission",
    note = "implement it: `impl static_bus::layer::Requires<{Permission}> for {Self}`, or register `{Self}` after the layer"
)]
pub trait Requires<Permission> {
    /// The permission that the caller needs.
    fn requires(&self) -> Permission;
}

impl<P: Policy + Clone> Layer for Authorized<P> {
    type Around = Self;
    fn around(&self, _: Registration) -> Self {
        self.clone()
    }
}
impl<M: Requires<P::Permission>, P: Policy> Examine<M> for Authorized<P> {
    type Refusal = P::Error;
    #[inline]
    fn examine(&self, message: &M) -> Result<(), P::Error> {
        self.0.check(message.requires())
    }
}
examining!(Authorized<P>, [P]);

macro_rules! through {
    ($($pointer:ty),*) => { $(
        impl<P: Policy + ?Sized> Policy for $pointer {
            type Permission = P::Permission;
            type Error = P::Error;
            #[inline]
            fn check(&self, required: P::Permission) -> Result<(), P::Error> {
                (**self).check(required)
            }
        }
    )* };
}
through!(&P);
#[cfg(feature = "alloc")]
through!(Rc<P>, Arc<P>);
