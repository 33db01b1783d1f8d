//! A case of the suite, and its run as a test.

use std::{fmt, io::Write, panic, pin::Pin, time::Duration};

use super::harness::Harness;

/// The result of a case that did not panic.
pub type Outcome = Result<(), Skipped>;

/// The reason why a case was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped(pub &'static str);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

/// A promise and its test.
pub struct Case<H> {
    /// The promise.
    pub name: &'static str,
    run: Run<H>,
}

type Run<H> = for<'a> fn(&'a H) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl<H> Case<H> {
    pub(crate) fn new(name: &'static str, run: Run<H>) -> Self {
        Case { name, run }
    }

    /// Tests the promise, on tokio.
    ///
    /// # Panics
    /// If the promise is broken.
    ///
    /// # Errors
    /// [`Skipped`], if the engine does not have the capabilities for it.
    pub async fn run(&self, harness: &H) -> Outcome {
        (self.run)(harness).await
    }
}

impl<H> fmt::Debug for Case<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Runs one case on its own runtime, as [`conformance_tests!`](crate::conformance_tests) does.
///
/// # Panics
/// If the promise is broken, or not checked within five minutes, or skipped by a harness that may not
/// [skip](Harness::may_skip).
pub fn run<H: Harness>(
    name: &str,
    harness: impl Future<Output = H>,
    case: impl AsyncFnOnce(&H) -> Outcome,
) {
    const TOO_LONG: Duration = Duration::from_secs(300);
    let runtime = Background(Some(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("a runtime"),
    ));
    let checked = async {
        let harness = harness.await;
        (case(&harness).await, harness.may_skip())
    };
    match runtime.block_on(async { tokio::time::timeout(TOO_LONG, checked).await }) {
        Ok((Ok(()), _)) => {}
        Ok((Err(skipped), false)) => panic!("{name} must not be skipped: {skipped}"),
        // Past the capture of tests' output, which would hide it.
        Ok((Err(skipped), true)) => {
            let _ = writeln!(std::io::stderr(), "{name}: {skipped}");
        }
        Err(_) => panic!("{name}: not checked after {TOO_LONG:?}"),
    }
}

/// A runtime that does not wait for tasks that hang.
struct Background(Option<tokio::runtime::Runtime>);

impl Background {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("taken on drop").block_on(future)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
