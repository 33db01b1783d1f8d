//! Many subscribers of one event, under the default `recursion_limit`: 200 synchronous ones, 200 asynchronous
//! ones, and both, registered one by one and in modules; and the memory that their future takes.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use static_bus::{asynchronous::BusError, message::PublishError, prelude::*};
use tokio::task::yield_now;

struct Tick;
event!(Tick -> Result<(), &'static str>);
struct Tock;
event!(Tock);

/// The numbers of the subscribers that have started.
type Seen = Mutex<Vec<usize>>;

/// Each number is a type of its own. Every seventh fails.
struct Subscriber<'a, const N: usize>(&'a Seen);
impl<const N: usize> Subscriber<'_, N> {
    const FAILS: bool = N % 7 == 3;
}
impl<B, const N: usize> EventHandler<Tick, B> for Subscriber<'_, N> {
    fn handle(&self, _: &Tick, _bus: &B) -> Result<(), &'static str> {
        self.0.lock().unwrap().push(N);
        if Self::FAILS { Err("full") } else { Ok(()) }
    }
}
/// The later ones end first.
impl<B: Sync, const N: usize> AsyncEventHandler<Tick, B> for Subscriber<'_, N> {
    async fn handle(&self, _: &Tick, _bus: &B) -> Result<(), BusError> {
        self.0.lock().unwrap().push(N);
        for _ in N..200 {
            yield_now().await;
        }
        if Self::FAILS {
            Err(BusError::refused::<Tick>("full"))
        } else {
            Ok(())
        }
    }
}

/// Calls a macro with the numbers below 200, in modules of 40.
macro_rules! two_hundred {
    ($macro:ident $argument:ident) => {
        $macro!($argument
            [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39]
            [40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79]
            [80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119]
            [120 121 122 123 124 125 126 127 128 129 130 131 132 133 134 135 136 137 138 139 140 141 142 143 144 145 146 147 148 149 150 151 152 153 154 155 156 157 158 159]
            [160 161 162 163 164 165 166 167 168 169 170 171 172 173 174 175 176 177 178 179 180 181 182 183 184 185 186 187 188 189 190 191 192 193 194 195 196 197 198 199]
        )
    };
}
macro_rules! one_by_one {
    ($seen:ident $([$($n:literal)*])*) => {
        BusBuilder::new()$($(.subscribe::<Tick, _>(Subscriber::<$n>($seen)))*)*.build()
    };
}
macro_rules! in_modules {
    ($seen:ident $([$($n:literal)*])*) => {
        BusBuilder::new()$(.mount(hlist![$(on_event::<Tick, _>(Subscriber::<$n>($seen))),*]))*.build()
    };
}
macro_rules! async_one_by_one {
    ($seen:ident $([$($n:literal)*])*) => {
        BusBuilder::new()$($(.subscribe_async::<Tick, _>(Subscriber::<$n>($seen)))*)*.build()
    };
}
macro_rules! async_in_modules {
    ($seen:ident $([$($n:literal)*])*) => {
        BusBuilder::new()
            $(.mount(hlist![$(on_event_async::<Tick, _>(Subscriber::<$n>($seen))),*]))*
            .build()
    };
}
macro_rules! both_one_by_one {
    ($seen:ident $([$($n:literal $m:literal)*])*) => {
        BusBuilder::new()
            $($(
                .subscribe::<Tick, _>(Subscriber::<$n>($seen))
                .subscribe_async::<Tick, _>(Subscriber::<$m>($seen))
            )*)*
            .build()
    };
}
macro_rules! both_in_modules {
    ($seen:ident $([$($n:literal $m:literal)*])*) => {
        BusBuilder::new()
            $(.mount(hlist![$(
                on_event::<Tick, _>(Subscriber::<$n>($seen)),
                on_event_async::<Tick, _>(Subscriber::<$m>($seen))
            ),*]))*
            .build()
    };
}

#[test]
fn two_hundred_synchronous_subscribers_run_in_registration_order() {
    let seen = &Seen::default();
    let bus = two_hundred!(one_by_one seen);
    assert_all_failures(bus.publish(&Tick).unwrap_err());
    assert_in_order(seen);
    assert_same_type(&bus, &two_hundred!(in_modules seen));

    let registrations = bus.wiring().registrations().to_vec();
    assert_eq!(registrations.len(), 200);
    for (n, registration) in registrations.iter().enumerate() {
        assert!(
            registration
                .handler
                .ends_with(&format!("::Subscriber<'_, {n}>")),
            "{registration:?}"
        );
    }
}

#[tokio::test]
async fn two_hundred_synchronous_subscribers_can_be_published_to_asynchronously() {
    let seen = &Seen::default();
    let bus = two_hundred!(in_modules seen);
    assert_all_failures(failures_of(bus.publish_async(&Tick).await));
    assert_in_order(seen);
}

#[tokio::test]
async fn two_hundred_asynchronous_subscribers_start_in_registration_order() {
    let seen = &Seen::default();
    let bus = two_hundred!(async_one_by_one seen);
    assert_all_failures(failures_of(bus.publish_async(&Tick).await));
    assert_in_order(seen);
    assert_same_type(&bus, &two_hundred!(async_in_modules seen));
}

#[tokio::test]
async fn two_hundred_subscribers_of_both_kinds_start_in_registration_order() {
    let seen = &Seen::default();
    let bus = two_hundred!(both_one_by_one seen);
    assert_all_failures(failures_of(bus.publish_async(&Tick).await));
    assert_in_order(seen);
    assert_same_type(&bus, &two_hundred!(both_in_modules seen));
    let registrations = bus.wiring().registrations().to_vec();
    assert!(
        registrations[198]
            .handler
            .ends_with("::Subscriber<'_, 198>"),
        "{:?}",
        registrations[198]
    );
}

fn assert_same_type<T>(_: &T, _: &T) {}
fn assert_in_order(seen: &Seen) {
    assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<_>>());
}
fn failures_of(result: Result<(), BusError>) -> PublishError<BusError> {
    let Err(BusError::Rejected { source, .. }) = result else {
        panic!("{result:?} is no list of failures");
    };
    *source.downcast().unwrap()
}
/// One for each subscriber that fails, in registration order.
fn assert_all_failures<E: std::fmt::Display>(error: PublishError<E>) {
    let text = error.to_string();
    assert!(
        text.starts_with("29 of 200 handlers of Tick failed: "),
        "{text}"
    );
    let failures = error.into_failures();
    let positions: Vec<_> = failures.iter().map(|failure| failure.position).collect();
    assert_eq!(positions, (3..200).step_by(7).collect::<Vec<_>>());
    for failure in failures {
        let name = format!("::Subscriber<'_, {}>", failure.position);
        assert!(failure.handler.ends_with(&name), "{}", failure.handler);
        assert!(failure.error.to_string().ends_with("full"));
    }
}

/// Each subscriber of `Tick` publishes `Tock`.
struct Relay<const N: usize>;
impl<B: AsyncPublishEvent<Tock>, const N: usize> AsyncEventHandler<Tick, B> for Relay<N> {
    async fn handle(&self, _: &Tick, bus: &B) -> Result<(), BusError> {
        bus.publish_async(&Tock).await
    }
}
macro_rules! relays {
    ($tocks:ident $([$($n:literal)*])*) => {
        $tocks$($(.subscribe_async::<Tick, _>(Relay::<$n>))*)*.build()
    };
}

#[test]
fn two_hundred_asynchronous_subscribers_can_each_publish_to_nine_others() {
    let heard = AtomicUsize::new(0);
    let hear = |_: &Tock| {
        heard.fetch_add(1, Relaxed);
        async { Ok(()) }
    };
    let tocks = BusBuilder::new()
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear)
        .subscribe_async_fn(hear);
    let bus = two_hundred!(relays tocks);
    let publish = pin!(bus.publish_async(&Tick));
    let polled = publish.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))));
    assert_eq!(heard.load(Relaxed), 1800);
}

// ----- memory

/// Nineteen subscribers of both kinds, which is a list of two levels.
macro_rules! nineteen {
    ($hear:expr, $wait:expr) => {
        BusBuilder::new()
            .mount(hlist![
                on_event_fn($hear),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait)
            ])
            .mount(hlist![
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_fn($hear),
                on_event_async_fn($wait),
                on_event_async_fn($wait)
            ])
            .mount(hlist![
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_async_fn($wait),
                on_event_fn($hear)
            ])
            .build()
    };
}

#[test]
fn a_publish_to_many_allocates_nothing() {
    let heard = AtomicUsize::new(0);
    let hear = |_: &Tock| {
        heard.fetch_add(1, Relaxed);
    };
    let wait = |_: &Tock| async {
        yield_now().await;
        heard.fetch_add(1, Relaxed);
        Ok(())
    };
    let bus = nineteen!(hear, wait);
    let mut context = Context::from_waker(Waker::noop());
    let allocations = allocation_counter::measure(|| {
        let mut publish = pin!(bus.publish_async(&Tock));
        assert!(publish.as_mut().poll(&mut context).is_pending());
        assert_eq!(heard.load(Relaxed), 3);
        assert!(matches!(publish.poll(&mut context), Poll::Ready(Ok(()))));
    });
    assert_eq!(heard.load(Relaxed), 19);
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn a_dropped_publish_to_many_drops_all_that_wait() {
    struct Waiting<'a>(&'a AtomicUsize);
    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }
    let waiting = &AtomicUsize::new(0);
    let wait = |_: &Tock| async move {
        waiting.fetch_add(1, Relaxed);
        let _guard = Waiting(waiting);
        std::future::pending::<Result<(), BusError>>().await
    };
    let bus = nineteen!(|_: &Tock| (), wait);
    {
        let publish = pin!(bus.publish_async(&Tock));
        assert!(
            publish
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(waiting.load(Relaxed), 16);
    }
    assert_eq!(waiting.load(Relaxed), 0);
}

// ----- size

/// A subscriber whose future holds this number of bytes, besides its arguments.
#[derive(Clone, Copy)]
struct Holds<const BYTES: usize>;
impl<B: Sync, const BYTES: usize> AsyncEventHandler<Tick, B> for Holds<BYTES> {
    async fn handle(&self, _: &Tick, _bus: &B) -> Result<(), BusError> {
        let bytes = [0_u8; BYTES];
        yield_now().await;
        std::hint::black_box(&bytes);
        Ok(())
    }
}

/// The size of the future of a publish to this subscriber, once for each number, and that of `tokio::join!` of the
/// same handlers.
macro_rules! sizes {
    ($subscriber:ident $([$($n:literal)*])*) => {{
        let bus = sizes!(@bus $subscriber $([$($n)*])*);
        let join = async {
            tokio::join!($($(sizes!(@first $subscriber $n).handle(&Tick, &bus)),*),*)
        };
        (size_of_val(&bus.publish_async(&Tick)), size_of_val(&join))
    }};
    (@bus $subscriber:ident $([$($n:literal)*])*) => {
        BusBuilder::new()
            $($(.subscribe_async::<Tick, _>(sizes!(@first $subscriber $n)))*)*
            .build()
    };
    (@first $subscriber:ident $n:literal) => { $subscriber };
}
/// Asserts for each number of subscribers that the future takes 1.5 times the size of `join!` at most.
macro_rules! assert_small {
    ($($subscriber:expr;)*) => { $({
        let it = $subscriber;
        let few = [
            sizes!(it [1]),
            sizes!(it [1 2]),
            sizes!(it [1 2 3]),
            sizes!(it [1 2 3 4 5 6 7 8]),
            sizes!(it [1 2 3 4 5 6 7 8 9]),
            sizes!(it [1 2 3 4 5 6 7 8 9 10]),
            sizes!(it [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18]),
        ];
        for (bus, join) in few {
            assert!(2 * bus <= 3 * join, "{bus} bytes, join! {join}: {few:?}");
        }
        let fifty = sizes!(it [0 1 2 3 4 5 6 7 8 9] [0 1 2 3 4 5 6 7 8 9] [0 1 2 3 4 5 6 7 8 9]
            [0 1 2 3 4 5 6 7 8 9] [0 1 2 3 4 5 6 7 8 9]);
        assert!(2 * fifty.0 <= 3 * fifty.1, "{fifty:?}");

        // `join!` takes 64 futures at most. Each takes the same space.
        let each = few[4].1 - few[3].1;
        assert_eq!(fifty.1, few[0].1 + 49 * each);
        let join = few[0].1 + 199 * each;
        let bus = two_hundred!(subscribed it);
        let bus = size_of_val(&bus.publish_async(&Tick));
        assert!(2 * bus <= 3 * join, "{bus} bytes, join! {join}");
    })* };
}
macro_rules! subscribed {
    ($subscriber:ident $($numbers:tt)*) => { sizes!(@bus $subscriber $($numbers)*) };
}

#[test]
fn the_future_of_a_publish_is_at_most_half_as_large_again_as_a_join_of_the_same_handlers() {
    assert_small!(Holds::<0>; Holds::<100>;);
}
