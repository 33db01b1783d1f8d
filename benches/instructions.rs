//! Counts the instructions of a call through the bus, and of the same calls written by hand.
//!
//! ```text
//! scripts/instructions                # installs missing programs, runs this, and compares the counts
//! cargo bench --bench instructions    # only runs it
//! ```
//!
//! Callgrind counts instructions, so the load of the machine has no effect. Each group has the same work in several
//! variants, and `tests/instructions.rs` compares their counts.
//!
//! The optimiser cannot compute results in advance: each function is `inline(never)`, its input comes
//! from a `black_box`, and the state of the handlers is on the heap, behind another `black_box`.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use services::*;
use static_bus::layer::{Counter, Timed};
use static_bus::log::Writer;
use static_bus::prelude::*;
use through_the_bus::{GetCategory, GetPrice, GetRate, GetTax, Sold, TakeStock};

#[path = "instructions/asynchronous.rs"]
mod asynchronous;
#[path = "../tests/zero_cost/built.rs"]
mod built;
#[path = "../tests/zero_cost/by_hand.rs"]
mod by_hand;
#[path = "instructions/counting.rs"]
mod counting;
#[path = "instructions/fallible.rs"]
mod fallible;
#[path = "instructions/mailbox.rs"]
mod mailbox;
#[path = "instructions/recording.rs"]
mod recording;
#[path = "../tests/zero_cost/services.rs"]
mod services;
#[path = "instructions/sizes.rs"]
mod sizes;
#[path = "../tests/zero_cost/through_the_bus.rs"]
mod through_the_bus;
#[path = "instructions/timing.rs"]
mod timing;

main!(
    library_benchmark_groups = [
        query,
        command,
        event_1,
        event_3,
        event_9,
        event_fallible,
        nested,
        counted,
        timed,
        async_nested,
        handlers,
        posted,
        recorded
    ]
);

/// Moves a bus or a struct of services to the heap, opaque to the optimiser.
fn on_heap<T>(value: T) -> &'static T {
    black_box(Box::leak(Box::new(value)))
}

#[library_benchmark]
#[bench::call(on_heap(Prices::default()))]
fn query_by_hand(prices: &by_hand::Query) -> u64 {
    by_hand::query(prices, black_box(3))
}
#[library_benchmark]
#[bench::call(on_heap(BusBuilder::new().mount(hlist![on_query::<GetPrice, _>(Prices::default())]).build()))]
fn query_by_bus(bus: &through_the_bus::Query) -> u64 {
    through_the_bus::query(bus, black_box(3))
}
library_benchmark_group!(
    name = query,
    compare_by_id = true,
    benchmarks = [query_by_hand, query_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(Stock::default()))]
fn command_by_hand(stock: &by_hand::Command) -> Result<(), OutOfStock> {
    by_hand::command(stock, black_box(3))
}
#[library_benchmark]
#[bench::call(on_heap(BusBuilder::new().mount(hlist![on_command::<TakeStock, _>(Stock::default())]).build()))]
fn command_by_bus(bus: &through_the_bus::Command) -> Result<(), OutOfStock> {
    through_the_bus::command(bus, black_box(3))
}
library_benchmark_group!(
    name = command,
    compare_by_id = true,
    benchmarks = [command_by_hand, command_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(Revenue::default()))]
fn event_1_by_hand(revenue: &by_hand::Event1) {
    by_hand::event_1(revenue, black_box(3))
}
#[library_benchmark]
#[bench::call(on_heap(BusBuilder::new().mount(hlist![on_event::<Sold, _>(Revenue::default())]).build()))]
fn event_1_by_bus(bus: &through_the_bus::Event1) {
    through_the_bus::event_1(bus, black_box(3))
}
library_benchmark_group!(
    name = event_1,
    compare_by_id = true,
    benchmarks = [event_1_by_hand, event_1_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(by_hand::Event3::default()))]
fn event_3_by_hand(audit: &by_hand::Event3) {
    by_hand::event_3(audit, black_box(3))
}
#[library_benchmark]
#[bench::call(on_heap(BusBuilder::new().mount(hlist![
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Sales::default()),
    on_event::<Sold, _>(Largest::default()),
]).build()))]
fn event_3_by_bus(bus: &through_the_bus::Event3) {
    through_the_bus::event_3(bus, black_box(3))
}
library_benchmark_group!(
    name = event_3,
    compare_by_id = true,
    benchmarks = [event_3_by_hand, event_3_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(by_hand::Event9::default()))]
fn event_9_by_hand(audit: &by_hand::Event9) {
    by_hand::event_9(audit, black_box(3))
}
#[library_benchmark]
#[bench::call(on_heap(BusBuilder::new().mount(hlist![
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Revenue::default()),
    on_event::<Sold, _>(Largest::default()),
]).build()))]
fn event_9_by_bus(bus: &through_the_bus::Event9) {
    through_the_bus::event_9(bus, black_box(3))
}
library_benchmark_group!(
    name = event_9,
    compare_by_id = true,
    benchmarks = [event_9_by_hand, event_9_by_bus]
);

#[library_benchmark]
#[bench::succeeds(on_heap(fallible::accounts(10)))]
#[bench::fails(on_heap(fallible::accounts(0)))]
fn event_fallible_by_hand(accounts: &[fallible::Account; 3]) -> usize {
    fallible::by_hand(accounts, black_box(3))
}
#[library_benchmark]
#[bench::succeeds(on_heap(fallible::bus(10)))]
#[bench::fails(on_heap(fallible::bus(0)))]
fn event_fallible_by_bus(bus: &fallible::Bus) -> usize {
    fallible::by_bus(bus, black_box(3))
}
library_benchmark_group!(
    name = event_fallible,
    compare_by_id = true,
    benchmarks = [event_fallible_by_hand, event_fallible_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(by_hand::Nested::default()))]
fn nested_by_hand(shop: &by_hand::Nested) -> u64 {
    by_hand::nested(shop, black_box(3), black_box(1_000))
}
#[library_benchmark]
#[bench::call(on_heap(BusBuilder::new().mount(hlist![
    on_query::<GetTax, _>(Tax),
    on_query::<GetRate, _>(Rates::default()),
    on_query::<GetCategory, _>(Categories::default()),
]).build()))]
fn nested_by_bus(bus: &through_the_bus::Nested) -> u64 {
    through_the_bus::nested(bus, black_box(3), black_box(1_000))
}
library_benchmark_group!(
    name = nested,
    compare_by_id = true,
    benchmarks = [nested_by_hand, nested_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(counting::ByHand::default()))]
fn counted_by_hand(shop: &counting::ByHand) -> u64 {
    counting::by_hand(shop, black_box(3), black_box(1_000))
}
#[library_benchmark]
#[bench::call(on_heap(counting::bus()))]
fn counted_by_bus(bus: &counting::Bus) -> u64 {
    counting::by_bus(bus, black_box(3), black_box(1_000))
}
library_benchmark_group!(
    name = counted,
    compare_by_id = true,
    benchmarks = [counted_by_hand, counted_by_bus]
);

#[library_benchmark]
#[bench::local(on_heap(timing::bus(Timed::local())))]
#[bench::shared(on_heap(timing::bus(Timed::new())))]
fn timed_by_bus<C: Counter>(bus: &timing::Bus<C>) -> u64 {
    timing::by_bus(bus, black_box(3), black_box(1_000))
}
library_benchmark_group!(name = timed, benchmarks = [timed_by_bus]);

#[library_benchmark]
#[bench::ready(on_heap(asynchronous::Shop::<false>::default()))]
#[bench::waits(on_heap(asynchronous::Shop::<true>::default()))]
fn async_nested_by_hand<S: asynchronous::Taxes>(shop: &S) -> u64 {
    asynchronous::by_hand(shop, black_box(3), black_box(1_000))
}
#[library_benchmark]
#[bench::ready(on_heap(asynchronous::bus::<false>()))]
#[bench::waits(on_heap(asynchronous::bus::<true>()))]
fn async_nested_by_bus<B: AsyncSendQuery<GetTax>>(bus: &B) -> u64 {
    asynchronous::by_bus(bus, black_box(3), black_box(1_000))
}
library_benchmark_group!(
    name = async_nested,
    compare_by_id = true,
    benchmarks = [async_nested_by_hand, async_nested_by_bus]
);

#[library_benchmark]
#[bench::call(on_heap(sizes::Scale(3)))]
fn handlers_none(scale: &sizes::Scale) -> u64 {
    sizes::by_hand(scale, black_box(3))
}
#[library_benchmark]
#[bench::of_1(on_heap(sizes::one()))]
#[bench::of_10(on_heap(sizes::ten()))]
#[bench::of_100(on_heap(sizes::hundred()))]
#[bench::of_300(on_heap(sizes::three_hundred()))]
fn handlers_bus<B: SendQuery<sizes::First>>(bus: &B) -> u64 {
    sizes::send(bus, black_box(3))
}
library_benchmark_group!(name = handlers, benchmarks = [handlers_none, handlers_bus]);

#[library_benchmark]
#[bench::one(on_heap(mailbox::Mixer::default()), 1)]
#[bench::thousand(on_heap(mailbox::Mixer::default()), 1_000)]
fn posted_by_hand(mixer: &mailbox::Mixer, messages: u64) -> usize {
    mailbox::by_hand(mixer, black_box(messages))
}
#[library_benchmark]
#[bench::one(on_heap(mailbox::bus()), 1)]
#[bench::thousand(on_heap(mailbox::bus()), 1_000)]
fn posted_and_settled(bus: &mailbox::Bus, messages: u64) -> usize {
    mailbox::post_and_settle(bus, black_box(messages))
}
library_benchmark_group!(
    name = posted,
    compare_by_id = true,
    benchmarks = [posted_by_hand, posted_and_settled]
);

#[library_benchmark]
#[bench::one(recording::writer())]
fn recorded_input(writer: Writer<recording::Input>) -> Writer<recording::Input> {
    recording::record(writer, black_box(&recording::input()))
}
library_benchmark_group!(name = recorded, benchmarks = [recorded_input]);
