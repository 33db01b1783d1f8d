use static_bus::layer::{Authorized, Policy, Requires, Validate, Validated};
use static_bus::prelude::*;

struct Denied;
#[derive(Clone)]
struct Nobody;
impl Policy for Nobody {
    type Permission = ();
    type Error = Denied;
    fn check(&self, _: ()) -> Result<(), Denied> { Err(Denied) }
}

struct CancelOrder;
command!(CancelOrder);
impl Requires<()> for CancelOrder {
    fn requires(&self) {}
}

struct OrderCreated;
event!(OrderCreated);
struct Invalid;
impl Validate for OrderCreated {
    type Error = Invalid;
    fn validate(&self) -> Result<(), Invalid> { Err(Invalid) }
}

struct Unknown;
struct GetUser;
query!(GetUser -> Result<u32, Unknown>);
impl Validate for GetUser {
    type Error = Invalid;
    fn validate(&self) -> Result<(), Invalid> { Err(Invalid) }
}

fn main() {
    BusBuilder::new().register_command_fn(|_: CancelOrder| ()).layer(Authorized::new(Nobody)).build();
    BusBuilder::new().subscribe_fn(|_: &OrderCreated| ()).layer(Validated).build();
    BusBuilder::new().register_query_fn(|_: GetUser| Ok(7)).layer(Validated).build();
}
