//! Metrics of asynchronous handlers.

use super::Metering;
use crate::asynchronous::BusError;
use crate::layer::around_future;

impl Metering {
    async fn run<R>(
        &self,
        _message: &'static str,
        future: impl Future<Output = Result<R, BusError>>,
    ) -> Result<R, BusError> {
        let mut call = self.begin();
        let result = future.await;
        call.succeeded = result.is_ok();
        result
    }
}

around_future!(Metering);
