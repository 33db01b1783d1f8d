//! The table: every peer, every job.

use crate::{
    allocations,
    jobs::Job,
    measure::{self, Contestant, Score},
    peer::{Missing, Peer},
    peers,
};

const ROUNDS: usize = 301;

/// A peer at one job. The result of every batch is checked.
struct AtJob<'a> {
    peer: &'a mut dyn Peer,
    job: Job,
    prepared: (u64, (u64, [u64; 5])),
}

impl AtJob<'_> {
    fn checked(&mut self, n: u64) {
        let before = self.peer.state().values();
        let answers = self.peer.run(self.job, n);
        let after = self.peer.state().values();
        let grown = std::array::from_fn(|i| after[i].wrapping_sub(before[i]));
        let (prepared, expected) = self.prepared;
        assert_eq!(prepared, n);
        assert_eq!(
            (answers, grown),
            expected,
            "{} did another job than {:?}",
            self.peer.name(),
            self.job
        );
    }
}
impl Contestant for AtJob<'_> {
    fn prepare(&mut self, n: u64) {
        if self.prepared.0 != n {
            self.prepared = (n, self.job.expected(n));
        }
    }
    fn run(&mut self, n: u64) {
        self.checked(n);
    }
}

struct Cell {
    score: Score,
    allocations: f64,
}

struct Row {
    name: &'static str,
    cells: Vec<Option<Cell>>,
    missing: Missing,
}

pub fn run() {
    let mut peers = peers::all();
    let mut columns: Vec<Vec<Option<Cell>>> = Job::ALL
        .iter()
        .map(|job| column(&mut peers, *job))
        .collect();
    let rows: Vec<Row> = peers
        .iter_mut()
        .map(|peer| Row {
            name: peer.name(),
            cells: columns.iter_mut().map(|column| column.remove(0)).collect(),
            missing: peer.missing(),
        })
        .collect();
    print(&rows);
}

/// One job on every peer that has this kind of message.
fn column(peers: &mut [Box<dyn Peer>], job: Job) -> Vec<Option<Cell>> {
    let mut contestants: Vec<Option<AtJob>> = peers
        .iter_mut()
        .map(|peer| {
            let offers = peer.offers(job);
            offers.then_some(AtJob {
                peer: peer.as_mut(),
                job,
                prepared: (0, job.expected(0)),
            })
        })
        .collect();
    let mut running: Vec<&mut AtJob> = contestants.iter_mut().flatten().collect();
    let mut scores = measure::compare(ROUNDS, &mut running).into_iter();
    contestants
        .iter_mut()
        .map(|contestant| {
            contestant.as_mut().map(|contestant| Cell {
                score: scores.next().expect("one score each"),
                allocations: allocations_per_message(contestant),
            })
        })
        .collect()
}

fn allocations_per_message(contestant: &mut AtJob) -> f64 {
    const MESSAGES: u64 = 4096;
    contestant.prepare(MESSAGES);
    let count = allocations::count(|| contestant.checked(MESSAGES));
    count as f64 / MESSAGES as f64
}

fn print(rows: &[Row]) {
    print!("| peer |");
    for job in Job::ALL {
        print!(" {} |", job.title());
    }
    println!(" allocations | missing handler found at |");
    println!("|---|{}---|---|", "--:|".repeat(Job::ALL.len()));
    for row in rows {
        print!("| {} |", row.name);
        for cell in &row.cells {
            match cell {
                None => print!(" – |"),
                Some(Cell { score, .. }) => {
                    print!(" {:.1} ns, ×{:.2} |", score.nanoseconds, score.ratio);
                }
            }
        }
        let allocations: Vec<String> = row
            .cells
            .iter()
            .map(|cell| cell.as_ref().map_or("–".into(), |c| trimmed(c.allocations)))
            .collect();
        let missing = match &row.missing {
            Missing::CompileTime(text) => format!("compile time: {text}"),
            Missing::RunTime(seen) => format!("run time: {seen}"),
        };
        println!(" {} | {missing} |", allocations.join(" / "));
    }
}

/// Without decimals if it is an integer, except for the few allocations once per batch.
fn trimmed(value: f64) -> String {
    if (value - value.round()).abs() < 0.01 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
