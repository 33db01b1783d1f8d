use static_bus::mailbox::Mailbox;
use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct GetPrice;
query!(GetPrice -> u32);
struct UserJoined;
event!(UserJoined);
mailbox! { enum Cascade { event UserJoined } }

struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}
struct Prices;
impl<B> QueryHandler<GetPrice, B> for Prices {
    fn handle(&self, _: GetPrice, _bus: &B) -> u32 {
        8
    }
}
struct Greeter;
impl<B> EventHandler<UserJoined, B> for Greeter {
    fn handle(&self, _: &UserJoined, _bus: &B) {}
}
struct Counter;
impl<B> EventHandler<UserJoined, B> for Counter {
    fn handle(&self, _: &UserJoined, _bus: &B) {}
}

module! { struct UserModule { users: Users => [query GetUser] } }
module! { struct PriceModule { prices: Prices => [query GetPrice] } }
module! { struct Shop { users: UserModule, prices: PriceModule } }
module! { struct Joins { greeter: Greeter => [event UserJoined], counter: Counter => [event UserJoined] } }

fn main() {
    // One module less than in the type.
    let _: BusOf<Shop> = BusBuilder::new().mount(PriceModule { prices: Prices }).build_as();
    // One handler more.
    let shop = Shop { users: UserModule { users: Users }, prices: PriceModule { prices: Prices } };
    let _: BusOf<Shop> = BusBuilder::new().mount(shop).subscribe(Greeter).build_as();
    // Another handler.
    let _: BusOf<PriceModule> = BusBuilder::new().register_query_fn(|_: GetPrice| 9).build_as();
    // Subscribers in another order.
    let _: BusOf<Joins> = BusBuilder::new().subscribe(Counter).subscribe(Greeter).build_as();
    // A mailbox that is not in the type.
    let _: BusOf<HList![]> = BusBuilder::new().mailbox::<Cascade>(8).build_as();
    let _: BusOf<HList![], Mailbox<Cascade>> = BusBuilder::new().build_as();
    // A field less: rustc's own words.
    let _ = Shop { users: UserModule { users: Users } };
}
