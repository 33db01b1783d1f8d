use static_bus::layer::{Authorized, Policy, Requires};
use static_bus::prelude::*;

enum Role { Clerk }
struct Denied;

#[derive(Clone)]
struct Everyone;
impl Policy for Everyone {
    type Permission = Role;
    type Error = Denied;
    fn check(&self, _: Role) -> Result<(), Denied> { Ok(()) }
}

struct CreateOrder;
command!(CreateOrder -> Result<(), Denied>);
impl Requires<Role> for CreateOrder {
    fn requires(&self) -> Role { Role::Clerk }
}
struct CancelOrder;
command!(CancelOrder -> Result<(), Denied>);
struct GetUser;
query!(GetUser -> Result<u32, Denied>);

fn main() {
    BusBuilder::new()
        .register_command_fn(|_: CreateOrder| Ok(()))
        .register_command_fn(|_: CancelOrder| Ok(()))
        .layer(Authorized::new(Everyone))
        .build();
    BusBuilder::new()
        .register_query_fn(|_: GetUser| Ok(7))
        .layer(Authorized::new(Everyone))
        .build();
}
