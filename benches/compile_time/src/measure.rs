//! Compiles a program with cargo, and measures time, memory and size.

use crate::program::Bus;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};
use wait4::Wait4;

/// A cargo command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// `cargo check`.
    Check,
    /// `cargo check` with rustc's next trait solver.
    NextSolver,
    /// `cargo build`.
    Debug,
    /// `cargo build` with `debug = "line-tables-only"`.
    LineTables,
    /// `cargo build --release`.
    Release,
}

impl Job {
    pub fn title(self) -> &'static str {
        match self {
            Job::Check => "`cargo check`",
            Job::NextSolver => "`cargo check`, next solver",
            Job::Debug => "`cargo build`",
            Job::LineTables => "`cargo build`, line tables only",
            Job::Release => "`cargo build --release`",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Job::Check | Job::NextSolver => &["check"],
            Job::Debug | Job::LineTables => &["build"],
            Job::Release => &["build", "--release"],
        }
    }

    /// The folder of the binary, if there is one.
    fn profile(self) -> Option<&'static str> {
        match self {
            Job::Check | Job::NextSolver => None,
            Job::Debug | Job::LineTables => Some("debug"),
            Job::Release => Some("release"),
        }
    }
}

/// The cost of one run of cargo.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Elapsed time in seconds.
    pub wall: f64,
    /// Processor time of all cores in seconds, cargo and the linker included.
    pub cpu: f64,
    /// The largest peak memory of a process, in MB.
    pub memory: f64,
    /// The size of the binary, in MB; 0 without a binary.
    pub binary: f64,
}

impl Cost {
    /// The cost above `base`. The memory is not reduced: it is a peak, not a sum.
    pub fn over(self, base: Cost) -> Cost {
        Cost {
            wall: (self.wall - base.wall).max(0.001),
            cpu: (self.cpu - base.cpu).max(0.001),
            ..self
        }
    }

    /// The median of each figure.
    pub fn median(costs: &[Cost]) -> Cost {
        let middle = |figure: fn(&Cost) -> f64| {
            let mut figures: Vec<f64> = costs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Cost {
            wall: middle(|cost| cost.wall),
            cpu: middle(|cost| cost.cpu),
            memory: middle(|cost| cost.memory),
            binary: middle(|cost| cost.binary),
        }
    }
}

/// A package whose source is replaced by each program in turn; its dependencies stay compiled.
pub struct Package {
    dir: PathBuf,
}

impl Package {
    pub fn new(library: &Path, dir: PathBuf, default_features: bool) -> Result<Self> {
        fs::create_dir_all(dir.join("src"))?;
        let manifest = format!(
            "[package]\nname = \"program\"\nedition = \"2024\"\n\n[dependencies]\n\
             static-bus = {{ path = {library:?}, default-features = {default_features} }}\n\n[workspace]\n"
        );
        fs::write(dir.join("Cargo.toml"), manifest)?;
        fs::copy(library.join("Cargo.lock"), dir.join("Cargo.lock"))?;
        Ok(Package { dir })
    }

    /// Compiles the dependencies, and runs each job once without a measurement.
    pub fn prepare(&self, jobs: &[Job]) -> Result<()> {
        for &job in jobs {
            self.compile("fn main() {}\n", job)?;
        }
        Ok(())
    }

    /// Compiles an empty program that links the library.
    pub fn empty(&self, job: Job) -> Result<Cost> {
        self.compile("use static_bus as _;\nfn main() {}\n", job)
    }

    /// Compiles the library, its dependencies and an empty program, without anything compiled before.
    pub fn cold(&self, job: Job) -> Result<Cost> {
        let target = self.target(job);
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        self.empty(job)
    }

    pub fn measure(&self, bus: Bus, handlers: usize, job: Job) -> Result<Cost> {
        self.compile(&bus.program(handlers), job)
            .with_context(|| format!("{bus:?} with {handlers} handlers, {job:?}"))
    }

    fn target(&self, job: Job) -> PathBuf {
        self.dir.join(match job {
            Job::NextSolver => "target-next-solver",
            Job::LineTables => "target-line-tables",
            _ => "target",
        })
    }

    fn compile(&self, source: &str, job: Job) -> Result<Cost> {
        fs::write(self.dir.join("src/main.rs"), source)?;
        let target = self.target(job);
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(job.arguments())
            .arg("--quiet")
            .current_dir(&self.dir)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTFLAGS")
            .stdin(Stdio::null());
        if job == Job::NextSolver {
            cargo
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", "-Znext-solver=globally");
        }
        if job == Job::LineTables {
            cargo.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        }
        let start = Instant::now();
        let done = cargo.spawn()?.wait4()?;
        let wall = start.elapsed().as_secs_f64();
        if !done.status.success() {
            bail!("cargo {:?} failed: {}", job.arguments(), done.status);
        }
        let binary = match job.profile() {
            Some(profile) => fs::metadata(target.join(profile).join("program"))?.len(),
            None => 0,
        };
        Ok(Cost {
            wall,
            cpu: (done.rusage.utime + done.rusage.stime).as_secs_f64(),
            memory: done.rusage.maxrss as f64 / 1e6,
            binary: binary as f64 / 1e6,
        })
    }
}
