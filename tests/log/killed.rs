//! A process that records is killed at random moments, and continues its log when it is started again.

use crate::at;
use crate::support::{Folder, child, task};
use serde::{Deserialize, Serialize};
use static_bus::log::{Durability, LogError, Options, Reader, Snapshot, WriteError};
use static_bus::prelude::*;
use static_bus::sim::Replay;
use static_bus::time::{Time, Timeline};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
pub struct Number(pub u64);
event!(Number);
#[derive(Serialize, Deserialize)]
pub struct Alarm(pub u64);
event!(Alarm);
mailbox! { #[derive(Serialize, Deserialize)] pub enum Input { event Number } }
mailbox! { #[derive(Serialize, Deserialize)] pub enum Timers { event Alarm } }

/// A state that depends on each message, on their order, and on the time of each.
pub struct Mixer<'a> {
    pub timeline: &'a Timeline<Timers>,
    pub state: &'a Cell<u64>,
}
impl Mixer<'_> {
    fn mix(&self, number: u64) {
        let time = self.timeline.now().as_nanos() as u64;
        self.state.set(mixed(self.state.get() ^ number) ^ time);
    }
}
impl<B> EventHandler<Number, B> for Mixer<'_> {
    fn handle(&self, number: &Number, _: &B) {
        self.mix(number.0);
        if number.0.is_multiple_of(3) {
            self.timeline.schedule(
                self.timeline.now() + Duration::from_nanos(1 + number.0 % 50),
                Alarm(number.0),
            );
        }
    }
}
impl<B> EventHandler<Alarm, B> for Mixer<'_> {
    fn handle(&self, alarm: &Alarm, _: &B) {
        self.mix(!alarm.0);
    }
}

fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

#[derive(Serialize)]
struct Saved<'a> {
    state: u64,
    timeline: &'a Timeline<Timers>,
}
#[derive(Default, Deserialize)]
struct Restored {
    state: u64,
    timeline: Timeline<Timers>,
}

/// Replays inputs from a state on, and calls `each` with the state before each input. Returns the state after.
fn run<E: Debug>(
    from: Restored,
    inputs: impl IntoIterator<Item = Result<(Time, Input), E>>,
    mut each: impl FnMut(&Saved<'_>, &(Time, Input)),
) -> Restored {
    let Restored { state, timeline } = from;
    let state = Cell::new(state);
    let mixer = Mixer {
        timeline: &timeline,
        state: &state,
    };
    let bus = BusBuilder::new()
        .subscribe::<Number, _>(&mixer)
        .subscribe::<Alarm, _>(&mixer)
        .build();
    let inputs = inputs.into_iter().inspect(|input| {
        each(
            &Saved {
                state: state.get(),
                timeline: &timeline,
            },
            input.as_ref().unwrap(),
        );
    });
    Replay::new(&bus, &timeline, inputs).run().unwrap();
    Restored {
        state: state.get(),
        timeline,
    }
}

/// The state after the first inputs of a log.
fn state_of(log: &Path, inputs: u64) -> Restored {
    let inputs = Reader::open(log).unwrap().take(inputs.try_into().unwrap());
    run(Restored::default(), inputs, |_, _| ())
}

/// The state after a snapshot and the rest of the log.
fn state_after(snapshot: Snapshot<Restored>, log: &Path) -> Restored {
    let rest = Reader::open_after(log, &snapshot).unwrap();
    run(snapshot.state, rest, |_, _| ())
}

/// Continues the log and the state of the runs before. Prints each position that is recorded, with the state
/// after its inputs. Does not end.
fn record(log: &Path, snapshot: Option<&Path>, durability: Durability) {
    // Segments are small, so that many kills meet the begin of one.
    let options = Options::new()
        .segment_bytes(20_000)
        .flush_every(Duration::from_micros(500));
    let options = options.durability(durability);
    let saved = snapshot.and_then(|file| file.exists().then(|| Snapshot::load(file).unwrap()));
    let (from, mut writer) = match options.clone().append(log) {
        Err(LogError::NoLog { .. }) => (Restored::default(), options.create(log).unwrap()),
        writer => (
            saved.map_or_else(|| state_of(log, u64::MAX), |saved| state_after(saved, log)),
            writer.unwrap(),
        ),
    };
    let inputs = (writer.position()..).map(|position| {
        let number = mixed(position);
        let time = at(position as i64 * 10 + number as i64 % 5);
        Ok::<_, WriteError>((time, Input::from(Number(number))))
    });
    let mut states = VecDeque::new();
    run(from, inputs, |saved, (time, input)| {
        states.push_back((writer.position(), saved.state));
        let recorded = writer.recorded();
        let until = states.partition_point(|(position, _)| *position <= recorded);
        if let Some((position, state)) = states.drain(..until).next_back() {
            println!("recorded {position} {state}");
        }
        if let Some(snapshot) = snapshot
            && writer.position().is_multiple_of(500)
        {
            writer.snapshot(snapshot, saved).unwrap();
        }
        if writer.position().is_multiple_of(50) {
            sleep(Duration::from_micros(200));
        }
        writer.record(*time, input).unwrap();
    });
}

/// The position and the state of a line that a child process printed as a whole.
fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let (_, numbers) = line.strip_suffix('\n')?.split_once("recorded ")?;
    let (position, state) = numbers.split_once(' ')?;
    Some((position.parse().unwrap(), state.parse().unwrap()))
}

/// Starts a process that records, and kills it: at once, or some time after it has recorded something. Returns
/// what it printed last.
fn kill(task: &str, kill: u64) -> Option<(u64, u64)> {
    let mut child = child(TEST, task).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut last = None;
    let mut read_line = || {
        let mut line = String::new();
        let more = stdout.read_line(&mut line).unwrap() > 0;
        last = acknowledged(&line).or(last);
        more && last.is_none()
    };
    if !kill.is_multiple_of(5) {
        while read_line() {}
    }
    sleep(Duration::from_micros(mixed(kill) % 40_000));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    rest.split_inclusive('\n')
        .filter_map(acknowledged)
        .next_back()
        .or(last)
}

const TEST: &str = "killed::what_was_acknowledged_replays_to_the_state_of_the_run_after_200_kills";

#[test]
fn what_was_acknowledged_replays_to_the_state_of_the_run_after_200_kills() {
    if let Some(task) = task() {
        let durability = if task[2] == "disk" {
            Durability::Disk
        } else {
            Durability::Process
        };
        let snapshot = Path::new(&task[1]);
        return record(
            Path::new(&task[0]),
            (task[1] != "none").then_some(snapshot),
            durability,
        );
    }
    let (mut acknowledgements, mut snapshots) = (0, 0);
    for run in 0..50 {
        let folder = Folder::new();
        let log = folder.log();
        let snapshot = (run % 2 == 0).then(|| folder.file("snapshot"));
        let durability = if run % 4 < 2 { "disk" } else { "process" };
        let file = snapshot
            .as_deref()
            .map_or("none".into(), Path::to_string_lossy);
        let task = format!("{} {file} {durability}", log.display());
        let mut last = None;
        // Each process continues what the one before has left.
        for number in 0..4 {
            last = kill(&task, run * 4 + number).or(last);
            let Some((position, state)) = last else {
                continue;
            };
            acknowledgements += 1;
            assert_eq!(
                state_of(&log, position).state,
                state,
                "run {run}, input {position}"
            );
            let saved = snapshot.as_deref().filter(|file| file.exists());
            if let Some(saved) = saved.map(|file| Snapshot::load(file).unwrap()) {
                snapshots += 1;
                let (restored, whole) = (state_after(saved, &log), state_of(&log, u64::MAX));
                assert_eq!(restored.state, whole.state, "run {run}, with a snapshot");
                assert_eq!(restored.timeline.len(), whole.timeline.len());
            }
        }
    }
    println!("{acknowledgements} acknowledgements, {snapshots} snapshots");
    assert!(acknowledgements >= 150, "{acknowledgements}");
    assert!(snapshots >= 50, "{snapshots}");
}
