use static_bus::asynchronous::BusError;
use static_bus::prelude::*;
use std::sync::Mutex;

struct GetRate;
query!(GetRate -> u32);
struct Pay;
command!(Pay);

struct Bank(Mutex<u32>);
impl<B: AsyncSendQuery<GetRate>> AsyncCommandHandler<Pay, B> for Bank {
    async fn handle(&self, _: Pay, bus: &B) -> Result<(), BusError> {
        let mut balance = self.0.lock().unwrap();
        *balance -= bus.send_async(GetRate).await?;
        Ok(())
    }
}

fn main() {}
