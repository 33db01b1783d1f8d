//! The faults are within the contract of an engine.

use static_bus_remote::{DeadLetters, Transport, transport::*};

use super::*;

#[test]
fn a_confirmed_message_is_handled_and_the_order_of_a_key_is_kept() {
    sim::search(0..200, async |sim| {
        let done = shop(&sim).await?;
        order(&sim, 12).await?;
        sim.until_quiet(LONG).await?;
        for user in 0..3 {
            // A message may be handled again, with those behind it. The first times are in order.
            let mut first = Vec::new();
            for place in done.placed.lock().unwrap().iter() {
                if place.user == user && !first.contains(&place.order) {
                    first.push(place.order);
                }
            }
            let sent: Vec<_> = (0..12).filter(|order| order % 3 == user).collect();
            assert_eq!(first, sent);
        }
        let mut heard = done.heard.lock().unwrap().clone();
        heard.sort();
        heard.dedup();
        assert_eq!(heard, Vec::from_iter(0..12));
        let dead = DeadLetters::of(sim).list(None, 10).await?;
        assert!(dead.is_empty(), "{dead:?}");
        Ok::<_, Failure>(())
    });
}

#[test]
fn without_faults_each_message_is_handled_once() {
    sim::search(0..50, async |sim| {
        let sim = sim.with_faults(Faults::none());
        let done = shop(&sim).await?;
        order(&sim, 12).await?;
        sim.until_quiet(LONG).await?;
        assert_eq!(done.placed.lock().unwrap().len(), 12);
        assert_eq!(done.heard.lock().unwrap().len(), 12);
        assert_eq!(sim.faults(), []);
        Ok::<_, Failure>(())
    });
}

#[test]
fn duplicates_are_recognised_by_workers_that_deduplicate() {
    let duplicates = Mutex::new(0);
    sim::search(0..50, async |sim| {
        let faults = Faults::none().with_duplicates(true).at_most(20);
        let sim = sim.with_faults(faults);
        let done = shop(&sim).await?;
        order(&sim, 12).await?;
        sim.until_quiet(LONG).await?;
        assert_eq!(done.placed.lock().unwrap().len(), 12);
        assert_eq!(done.heard.lock().unwrap().len(), 12);
        *duplicates.lock().unwrap() += sim.faults().len();
        Ok::<_, Failure>(())
    });
    assert!(*duplicates.lock().unwrap() > 50);
}

#[test]
fn every_kind_of_fault_happens_and_no_more_than_at_most() {
    let mut seen = Vec::new();
    for seed in 0..200 {
        let faults = in_paused_time(async {
            let sim = SimBroker::seed(seed);
            shop(&sim).await.unwrap();
            order(&sim, 12).await.unwrap();
            sim.until_quiet(LONG).await.unwrap();
            sim.faults()
        });
        assert!(faults.len() <= 4, "{faults:?}");
        let kinds = faults.iter();
        seen.extend(kinds.map(|fault| std::mem::discriminant(&fault.fault)));
    }
    let time = Duration::ZERO;
    for fault in [
        Fault::KillBefore(time),
        Fault::KillAfter(time),
        Fault::CutOff(time),
        Fault::FailBefore,
        Fault::FailAfter,
        Fault::Duplicate,
        Fault::Delay(time),
    ] {
        let kind = std::mem::discriminant(&fault);
        assert!(seen.contains(&kind), "{fault:?}");
    }
}

#[test]
fn messages_without_a_key_overtake_delayed_ones_and_those_with_a_key_do_not() {
    let overtaken = Mutex::new(0);
    sim::search(0..100, async |sim| {
        let sim = sim.with_faults(Faults::none().with_delays(true).at_most(20));
        let topic = |name: &'static str| Topic {
            kind: Kind::Command,
            name: name.into(),
        };
        let record = |number: u8, key: Option<&str>| Record {
            body: vec![number].into(),
            key: key.map(Into::into),
            ..Record::default()
        };
        for number in 0..20 {
            let keyed = (topic("keyed"), record(number, Some("one")));
            let free = (topic("free"), record(number, None));
            for result in sim.append(vec![keyed, free]).await {
                result?;
            }
        }
        let mut orders = Vec::new();
        for name in ["keyed", "free"] {
            let subscription = Subscription::new(topic(name), "handlers", "one");
            let consumer = sim.consume(subscription).await?;
            let mut order = Vec::new();
            while order.len() < 20 {
                let received = consumer.receive(20, LONG).await?;
                assert!(!received.is_empty(), "lost: {order:?}");
                order.extend(received.iter().map(|delivery| delivery.record.body[0]));
            }
            orders.push(order);
        }
        assert!(orders[0].is_sorted(), "{:?}", orders[0]);
        *overtaken.lock().unwrap() += usize::from(!orders[1].is_sorted());
        Ok::<_, Failure>(())
    });
    assert!(*overtaken.lock().unwrap() > 10);
}

#[test]
fn a_process_that_is_killed_starts_again_and_leaves_its_leases() {
    let restarts = Mutex::new(0);
    sim::search(0..100, async |sim| {
        let sim = sim.with_faults(Faults::none().with_kills(true));
        let starts = Arc::new(Mutex::new(0));
        let counted = starts.clone();
        sim.process("counted", move |broker| {
            *counted.lock().unwrap() += 1;
            let bus = BusBuilder::new().register_command_fn(|_: Place| Ok(()));
            Worker::new(broker, bus.build()).command::<Place>().start()
        })
        .await?;
        order(&sim, 6).await?;
        sim.until_quiet(LONG).await?;
        let restarted = *starts.lock().unwrap() - 1;
        assert_eq!(restarted, sim.faults().len());
        *restarts.lock().unwrap() += restarted;
        Ok::<_, Failure>(())
    });
    assert!(*restarts.lock().unwrap() > 20);
}

#[test]
fn delayed_messages_are_not_quiet() {
    in_paused_time(async {
        // Its first decision is about the message.
        let seed = (0..).find(|seed| {
            in_other_thread(*seed, |sim| async move {
                order(&sim, 1).await.unwrap();
                !sim.faults().is_empty()
            })
        });
        let sim = delaying(seed.unwrap());
        order(&sim, 1).await.unwrap();
        let error = sim.until_quiet(Duration::ZERO).await.unwrap_err();
        assert!(
            error.to_string().ends_with(": 1 × command place, waiting"),
            "{error}"
        );
    });
}

fn delaying(seed: u64) -> SimBroker {
    SimBroker::seed(seed).with_faults(Faults::none().with_delays(true))
}

/// A run cannot begin inside of another.
fn in_other_thread<R: Send + 'static, F: Future<Output = R>>(
    seed: u64,
    run: impl FnOnce(SimBroker) -> F + Send + 'static,
) -> R {
    let running = std::thread::spawn(move || in_paused_time(async { run(delaying(seed)).await }));
    running.join().unwrap()
}
