//! Equal seeds give equal runs.

use super::*;

async fn run(sim: &SimBroker) {
    shop(sim).await.unwrap();
    order(sim, 12).await.unwrap();
    sim.until_quiet(LONG).await.unwrap();
}

fn log_of(seed: u64) -> Vec<String> {
    in_paused_time(async {
        let sim = SimBroker::seed(seed);
        run(&sim).await;
        sim.log()
    })
}

#[test]
fn equal_seeds_give_equal_logs() {
    let mut faults = 0;
    for seed in 0..100 {
        let (first, second) = (log_of(seed), log_of(seed));
        for (line, (first, second)) in first.iter().zip(&second).enumerate() {
            assert_eq!(first, second, "seed {seed}, line {line}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
        faults += first.iter().filter(|line| line.contains("FAULT")).count();
    }
    assert!(faults > 100, "{faults} faults in 100 seeds");
}

#[test]
fn different_seeds_give_different_faults() {
    let faults = |seed| {
        in_paused_time(async {
            let sim = SimBroker::seed(seed);
            run(&sim).await;
            sim.faults()
        })
    };
    let all: Vec<_> = (0..20).map(faults).collect();
    let distinct = |at: usize| !all[..at].contains(&all[at]);
    let distinct = (0..all.len()).filter(|at| distinct(*at)).count();
    assert!(distinct > 15, "{distinct} of {}", all.len());
}

#[test]
fn a_seed_of_a_search_is_repeated_by_a_broker_of_that_seed() {
    let seen = Mutex::new(Vec::new());
    sim::search([3], async |sim| {
        run(&sim).await;
        *seen.lock().unwrap() = sim.log();
        Ok::<_, String>(())
    });
    assert_eq!(*seen.lock().unwrap(), log_of(3));
}
