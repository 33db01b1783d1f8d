use static_bus::layer::{AroundCommand, Layer};
use static_bus::{prelude::*, wiring::Registration};

#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which role it requires",
    label = "everyone could send it",
    note = "implement `RequiresRole` for `{Self}`"
)]
trait RequiresRole {
    const ROLE: &'static str;
}

struct Authorized;
impl Layer for Authorized {
    type Around = Authorized;
    fn around(&self, _: Registration) -> Authorized { Authorized }
}
impl<C: Command + RequiresRole, B: ?Sized> AroundCommand<C, B> for Authorized {
    fn command(&self, command: C, _: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        assert_eq!(C::ROLE, "clerk");
        next(command)
    }
}

struct CreateOrder;
command!(CreateOrder);
impl RequiresRole for CreateOrder { const ROLE: &'static str = "clerk"; }
struct CancelOrder;
command!(CancelOrder);

fn main() {
    BusBuilder::new()
        .register_command_fn(|_: CreateOrder| ())
        .register_command_fn(|_: CancelOrder| ())
        .layer(Authorized)
        .build();
}
