use static_bus::prelude::*;

struct Mail;
event!(Mail -> Result<(), u8>);
mailbox! { enum Cascade { event Mail } }

fn main() {}
