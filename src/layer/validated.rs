//! Validation: a message is checked before its handler runs.

use super::Layer;
use super::examine::{Examine, examining};
use crate::wiring::Registration;

/// A layer that runs a handler only if the message is valid.
///
/// - Each message within the layer implements [`Validate`]. One that does not is a compile error.
/// - The message is validated before each call of a handler, hence once for each subscriber of an event.
/// - The error is the message's own result: an output `Result<(), E>` or a response `Result<T, E>`, where `E` implements
///   `From<Validate::Error>`. A message with another result is a compile error.
/// - An asynchronous call of an asynchronous handler returns `BusError::refused`, with that error as its source. It is
///   not retryable.
/// - An asynchronous call of a synchronous handler returns `BusError::rejected`, as
///   for each error of such a handler: a worker calls it again before it makes a dead letter.
///
/// ```
/// use static_bus::{layer::{Validate, Validated}, prelude::*};
///
/// struct PlaceOrder { quantity: u32 }
/// command!(PlaceOrder -> Result<(), OrderError>);
/// impl Validate for PlaceOrder {
///     type Error = NoQuantity;
///     fn validate(&self) -> Result<(), NoQuantity> {
///         if self.quantity > 0 { Ok(()) } else { Err(NoQuantity) }
///     }
/// }
///
/// #[derive(Debug, PartialEq)]
/// struct NoQuantity;
/// #[derive(Debug, PartialEq)]
/// enum OrderError { Invalid(NoQuantity), OutOfStock }
/// impl From<NoQuantity> for OrderError {
///     fn from(error: NoQuantity) -> Self { OrderError::Invalid(error) }
/// }
///
/// let bus = BusBuilder::new()
///     .register_command_fn(|_: PlaceOrder| Err(OrderError::OutOfStock))
///     .layer(Validated)
///     .build();
/// assert_eq!(bus.execute(PlaceOrder { quantity: 0 }), Err(OrderError::Invalid(NoQuantity)));
/// assert_eq!(bus.execute(PlaceOrder { quantity: 1 }), Err(OrderError::OutOfStock));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Validated;

/// A message that says whether it is valid.
///
/// ```
/// use static_bus::layer::Validate;
///
/// struct Rename { name: String }
/// impl Validate for Rename {
///     type Error = &'static str;
///     fn validate(&self) -> Result<(), &'static str> {
///         if self.name.is_empty() { Err("a name has at least one character") } else { Ok(()) }
///     }
/// }
/// assert!(Rename { name: "Ada".to_owned() }.validate().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether it is valid",
    label = "`{Self}` has no validation",
    note = "implement it: `impl static_bus::layer::Validate for {Self}`, or register `{Self}` after the layer"
)]
pub trait Validate {
    /// The reason why a message is not valid.
    type Error;
    /// Checks the content of the message.
    ///
    /// # Errors
    /// The message is not valid.
    fn validate(&self) -> Result<(), Self::Error>;
}

impl Layer for Validated {
    type Around = Self;
    fn around(&self, _: Registration) -> Self {
        *self
    }
}
impl<M: Validate> Examine<M> for Validated {
    type Refusal = M::Error;
    #[inline]
    fn examine(&self, message: &M) -> Result<(), M::Error> {
        message.validate()
    }
}
examining!(Validated, []);
