use static_bus::prelude::*;

struct Get<T>(T);
query!(Get<u32> -> u32);
struct Set<T>(T);
command!(Set<Vec<u8>>);
event!(Set<'_, 3>, key = 0);
struct Tick<'a>(&'a str);
query!(Tick<'_>);
query!(Tick<'_>, name = "tick");

mailbox! { enum Posted { event Get<u32> } }

fn main() {}
