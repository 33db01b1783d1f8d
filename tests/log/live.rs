use crate::killed::{Alarm, Input, Mixer, Number};
use crate::support::Folder;
use static_bus::live::{Live, channel};
use static_bus::log::{Options, Reader};
use static_bus::prelude::*;
use static_bus::sim::Replay;
use static_bus::time::Timeline;
use std::cell::Cell;
use std::thread;

#[test]
fn a_run_in_real_time_is_recorded_and_replayed_to_the_same_state() {
    let folder = Folder::new();
    let (timeline, state) = (Timeline::new(), Cell::new(0));
    let mixer = Mixer {
        timeline: &timeline,
        state: &state,
    };
    let bus = BusBuilder::new()
        .subscribe::<Number, _>(&mixer)
        .subscribe::<Alarm, _>(&mixer)
        .build();

    let mut writer = Options::new()
        .segment_bytes(1_000)
        .create::<Input>(folder.log())
        .unwrap();
    let (sender, receiver) = channel::<Input>(64);
    let posting =
        thread::spawn(move || (0..2_000).for_each(|number| sender.post(Number(number)).unwrap()));
    let report = Live::new(&bus, &timeline, receiver)
        .recorder(&mut writer)
        .run()
        .unwrap();
    posting.join().unwrap();
    writer.end(report.end).unwrap();
    let (ran, waiting) = (state.take(), timeline.len());

    let (timeline, state) = (Timeline::new(), Cell::new(0));
    let mixer = Mixer {
        timeline: &timeline,
        state: &state,
    };
    let bus = BusBuilder::new()
        .subscribe::<Number, _>(&mixer)
        .subscribe::<Alarm, _>(&mixer)
        .build();
    let reader = Reader::<Input>::open(folder.log()).unwrap();
    let end = reader.tail().unwrap().end.unwrap();
    let replayed = Replay::new(&bus, &timeline, reader)
        .until(end)
        .run()
        .unwrap();
    assert_eq!(replayed.events(), report.delivered.events());
    assert_eq!((state.get(), timeline.len()), (ran, waiting));
}
