//! Figures as Markdown: tables, and the goals with their results.

use crate::measure::{Cost, Job};
use crate::program::Bus;
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::{fmt, fs, path::Path, process::Command};

/// The median cost of one program.
pub struct Figure {
    pub bus: Bus,
    pub handlers: usize,
    pub job: Job,
    pub cost: Cost,
}

/// The cost of the library and its dependencies, compiled from nothing.
pub struct Cold {
    pub job: Job,
    pub default: Cost,
    pub core: Cost,
}

#[derive(Default)]
pub struct Report {
    pub cold: Vec<Cold>,
    pub figures: Vec<Figure>,
}

impl Report {
    pub fn cost(&self, job: Job, bus: Bus, handlers: usize) -> Option<Cost> {
        self.figures
            .iter()
            .find(|f| f.job == job && f.bus == bus && f.handlers == handlers)
            .map(|f| f.cost)
    }

    /// Replaces the sections of a Markdown file that were measured, each between two markers with its name.
    pub fn write_into(&self, file: &Path) -> Result<()> {
        let mut text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        for (name, section) in self.sections() {
            let begin = format!("<!-- compile_time, {name}: begin -->");
            let end = format!("<!-- compile_time, {name}: end -->");
            let (before, rest) = text
                .split_once(&begin)
                .with_context(|| format!("no {begin}"))?;
            let (_, after) = rest.split_once(&end).with_context(|| format!("no {end}"))?;
            text = format!("{before}{begin}\n\n{section}{end}{after}");
        }
        fs::write(file, text)?;
        Ok(())
    }

    /// The goals and the table of each job that was measured, with their names.
    fn sections(&self) -> Vec<(&'static str, String)> {
        let tables = Job::value_variants()
            .iter()
            .map(|&job| (job.title(), self.table(job)));
        [("goals", self.summary())]
            .into_iter()
            .chain(tables)
            .filter(|(_, section)| !section.is_empty())
            .collect()
    }

    /// Empty without a program that has a goal.
    fn summary(&self) -> String {
        let goals = self.goals();
        if goals.is_empty() {
            return String::new();
        }
        let mut out = format!(
            "{}\n\n| `cargo check` of | goal, at most | measured | |\n|---|---:|---:|---|\n",
            machine()
        );
        for goal in goals {
            out += &format!("{goal}\n");
        }
        out += "\nThe library and its dependencies, from nothing:\n\n\
                | | default features | no default features |\n|---|---:|---:|\n";
        for Cold { job, default, core } in &self.cold {
            out += &format!(
                "| {} | {} | {} |\n",
                job.title(),
                Cell(*default),
                Cell(*core)
            );
        }
        out + "\n"
    }

    fn handlers(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.figures.iter().map(|f| f.handlers).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Empty if the job was not measured.
    fn table(&self, job: Job) -> String {
        let buses: Vec<Bus> = Bus::value_variants()
            .iter()
            .copied()
            .filter(|&bus| self.figures.iter().any(|f| f.job == job && f.bus == bus))
            .collect();
        if buses.is_empty() {
            return String::new();
        }
        let titles: String = buses
            .iter()
            .map(|bus| format!(" {} |", bus.title()))
            .collect();
        let mut out = format!(
            "{}:\n\n| handlers |{titles}\n|---:|{}\n",
            job.title(),
            "---:|".repeat(buses.len())
        );
        for handlers in self.handlers() {
            let cells: String = buses
                .iter()
                .map(|&bus| match self.cost(job, bus, handlers) {
                    Some(cost) => format!(" {} |", Cell(cost)),
                    None => " |".to_owned(),
                })
                .collect();
            out += &format!("| {handlers} |{cells}\n");
        }
        out + "\n"
    }

    fn goals(&self) -> Vec<Goal> {
        let check = |bus, handlers| self.cost(Job::Check, bus, handlers);
        let times = |job, bus, base, handlers| {
            Some(self.cost(job, bus, handlers)?.cpu / self.cost(job, base, handlers)?.cpu)
        };
        let ratio = |bus, base, handlers| times(Job::Check, bus, base, handlers);
        let growth = || {
            let times = check(Bus::Modules, 1000)?.cpu / check(Bus::Modules, 200)?.cpu;
            Some(times.ln() / 5_f64.ln())
        };
        #[rustfmt::skip]
        let goals = [
            ("200 handlers in modules, times by hand", 5.0, ratio(Bus::Modules, Bus::Floor, 200)),
            ("1000 handlers in modules, times by hand", 10.0, ratio(Bus::Modules, Bus::Floor, 1000)),
            ("1000 handlers in modules, seconds", 8.0, check(Bus::Modules, 1000).map(|c| c.cpu)),
            ("1000 handlers in modules, peak memory in MB", 1000.0, check(Bus::Modules, 1000).map(|c| c.memory)),
            ("growth from 200 to 1000 in modules, as an exponent of N", 1.5, growth()),
            ("200 handlers within one layer, times without", 1.15, ratio(Bus::Layer, Bus::Modules, 200)),
            ("1000 handlers within one layer, times without", 1.25, ratio(Bus::Layer, Bus::Modules, 1000)),
            ("1000 handlers within three layers, times without", 1.8, ratio(Bus::ThreeLayers, Bus::Modules, 1000)),
            ("200 borrowing handlers, times owning ones", 2.0, ratio(Bus::Borrowing, Bus::Modules, 200)),
            ("1000 borrowing handlers, times owning ones", 3.0, ratio(Bus::Borrowing, Bus::Modules, 1000)),
            ("200 borrowing handlers, sent by handlers, times owning ones", 2.0, ratio(Bus::BorrowingInner, Bus::Inner, 200)),
            ("1000 borrowing handlers, sent by handlers, times owning ones", 3.0, ratio(Bus::BorrowingInner, Bus::Inner, 1000)),
            ("200 closures, times 200 handler types in one chain", 3.0, ratio(Bus::Closures, Bus::Chain, 200)),
            ("200 closures in modules, times 200 handler types in modules", 3.0, ratio(Bus::ClosureModules, Bus::Modules, 200)),
            ("50 closures, next solver, times 50 handler types in one chain", 10.0, times(Job::NextSolver, Bus::Closures, Bus::Chain, 50)),
            ("50 closures in modules, next solver, times 50 handler types in modules", 10.0, times(Job::NextSolver, Bus::ClosureModules, Bus::Modules, 50)),
        ];
        goals
            .into_iter()
            .filter_map(|(what, limit, figure)| {
                Some(Goal {
                    what,
                    limit,
                    figure: figure?,
                })
            })
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sections()
            .iter()
            .try_for_each(|(_, section)| f.write_str(section))
    }
}

struct Goal {
    what: &'static str,
    limit: f64,
    figure: f64,
}
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal {
            what,
            limit,
            figure,
        } = self;
        let digits = if *limit < 100.0 { 2 } else { 0 };
        let verdict = if figure <= limit { "met" } else { "**missed**" };
        write!(f, "| {what} | {limit} | {figure:.digits$} | {verdict} |")
    }
}

struct Cell(Cost);
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost {
            wall,
            cpu,
            memory,
            binary,
        } = self.0;
        write!(f, "{wall:.2} s ({cpu:.2}), {memory:.0} MB")?;
        if binary > 0.0 {
            write!(f, " → {binary:.1} MB")?;
        }
        Ok(())
    }
}

/// The compiler and the processor.
fn machine() -> String {
    let version = Command::new("rustc").arg("--version").output();
    let compiler = version.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, model)| model);
    format!(
        "{}; {cores} cores of {model}.",
        compiler.unwrap_or_default()
    )
}
