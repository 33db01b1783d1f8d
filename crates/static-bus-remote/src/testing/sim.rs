//! The search for a seed whose faults make a scenario fail.

use std::{
    any::Any,
    cell::Cell,
    error::Error,
    fmt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Duration,
};

use tokio::{runtime::Builder, time::timeout};

use super::{InjectedFault, SimBroker};

/// The longest simulated time of a run.
const LIMIT: Duration = Duration::from_secs(3600);
/// The number of runs after which a failure is reduced no further.
const RUNS: usize = 500;
/// The number of lines of the log in the text of a failure.
const LINES: usize = 60;

/// Runs a scenario for each seed, each with a broker of its own, until one fails.
///
/// A run has a current-thread runtime with paused time: hours pass in milliseconds, and sockets and files are not
/// waited for. It fails if the scenario panics, returns an error, or has not ended after an hour of simulated time. A
/// panic in a handler is a failed attempt, as always.
///
/// # Panics
/// With the text of the first [`Failure`]. `sim::search([seed], …)` repeats it exactly, as does
/// [`SimBroker::seed`] in a `#[tokio::test(start_paused = true)]`.
pub fn search<S, E>(seeds: impl IntoIterator<Item = u64>, scenario: impl Fn(SimBroker) -> S)
where
    S: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    if let Some(failure) = find(seeds, scenario) {
        panic!("{failure}");
    }
}

/// The first failure of a [`search`], if there is one.
pub fn find<S, E>(
    seeds: impl IntoIterator<Item = u64>,
    scenario: impl Fn(SimBroker) -> S,
) -> Option<Failure>
where
    S: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let failed = |seed| {
        let run = run(|| SimBroker::seed(seed), &scenario);
        let is_failed = run.error.is_some();
        is_failed.then(|| shrink(seed, run, &scenario))
    };
    seeds.into_iter().find_map(failed)
}

/// A failure, reduced to the faults that it needs.
#[derive(Debug, Clone)]
pub struct Failure {
    seed: u64,
    error: String,
    faults: Vec<InjectedFault>,
    injected: Vec<InjectedFault>,
    log: Vec<String>,
    runs: usize,
}

impl Failure {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The error or the panic of the scenario, with the [reduced](Failure::faults) faults.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// The faults that the failure needs: without one of them, the scenario succeeds. They are as early as possible.
    pub fn faults(&self) -> &[InjectedFault] {
        &self.faults
    }

    /// All faults of the seed.
    pub fn injected(&self) -> &[InjectedFault] {
        &self.injected
    }

    /// The [log](SimBroker::log) of the run with the reduced faults.
    pub fn log(&self) -> &[String] {
        &self.log
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            seed,
            error,
            faults,
            injected,
            log,
            runs,
        } = self;
        writeln!(f, "the scenario fails with seed {seed}: {error}")?;
        match faults.len() {
            0 => writeln!(f, "It fails without any fault.")?,
            needed => writeln!(
                f,
                "It needs {needed} of the {} faults of the seed (found in {runs} runs):",
                injected.len()
            )?,
        }
        for fault in faults {
            writeln!(f, "- {fault}")?;
        }
        writeln!(f, "The calls of this run, the last {LINES} at most:")?;
        for line in &log[log.len().saturating_sub(LINES)..] {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "To repeat it: `sim::search([{seed}], …)`, or `SimBroker::seed({seed})` in paused time."
        )
    }
}

impl Error for Failure {}

/// The result of a run.
struct Run {
    error: Option<String>,
    injected: Vec<InjectedFault>,
    log: Vec<String>,
}

fn run<S, E>(broker: impl FnOnce() -> SimBroker, scenario: impl Fn(SimBroker) -> S) -> Run
where
    S: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without sockets needs nothing of the system");
    let sim = runtime.block_on(async { broker() });
    let running = async { timeout(LIMIT, scenario(sim.clone())).await };
    let ended = quietly(|| catch_unwind(AssertUnwindSafe(|| runtime.block_on(running))));
    let error = match ended {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(error.to_string()),
        Ok(Err(_)) => Some(format!(
            "it has not ended after {LIMIT:?} of simulated time"
        )),
        Err(panic) => Some(text(&*panic)),
    };
    Run {
        error,
        injected: sim.faults(),
        log: sim.log(),
    }
}

/// Reduces a failure: first the number of its faults, then their positions.
fn shrink<S, E>(seed: u64, first: Run, scenario: impl Fn(SimBroker) -> S) -> Failure
where
    S: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let injected = first.injected.clone();
    let mut best = first;
    let mut runs = 1;
    // Tries a list of faults. Takes it if the scenario fails with it.
    let mut fails = |best: &mut Run, faults: Vec<InjectedFault>| {
        if runs >= RUNS {
            return false;
        }
        runs += 1;
        let tried = run(|| SimBroker::with_list(seed, faults), &scenario);
        let is_failed = tried.error.is_some();
        if is_failed {
            *best = tried;
        }
        is_failed
    };

    let mut at = 0;
    while at < best.injected.len() {
        let mut fewer = best.injected.clone();
        fewer.remove(at);
        // What was needed with more faults may not be with fewer.
        at = if fails(&mut best, fewer) { 0 } else { at + 1 };
    }
    let mut at = 0;
    while at < best.injected.len() {
        let number = best.injected[at].number;
        let earlier = (1..number).any(|earlier| {
            let mut moved = best.injected.clone();
            moved[at].number = earlier;
            fails(&mut best, moved)
        });
        // The faults are in the order of their times, which may be another now.
        at = if earlier { 0 } else { at + 1 };
    }
    Failure {
        seed,
        error: best.error.unwrap_or_default(),
        faults: best.injected,
        injected,
        log: best.log,
        runs,
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a text").to_owned()
}

thread_local! {
    /// `true` while panics of this thread are not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs this without the reports of its panics: a search has many, and their texts are in the failure.
fn quietly<R>(run: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                report(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = run();
    QUIET.set(before);
    result
}
