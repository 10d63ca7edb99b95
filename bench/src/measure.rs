//! What is measured: the processor time and memory of a process, and how long requests took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// Clock ticks a second in /proc (proc_pid_stat(5)); 100 on every Linux that Rust supports.
const TICKS: f64 = 100.0;
/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Seconds of processor time that all threads of a process have used, ended ones included.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    let after_name = stat.rsplit_once(')').context("unreadable stat")?.1;
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Ok(ticks as f64 / TICKS)
}

/// Resident memory of a process in KiB.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// All of it, mapped files included.
    pub rss_kib: u64,
    /// What is the process's own.
    pub anonymous_kib: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} is gone"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Ok(Memory { rss_kib: field("VmRSS:"), anonymous_kib: field("RssAnon:") })
    }

    fn max(self, other: Memory) -> Memory {
        Memory {
            rss_kib: self.rss_kib.max(other.rss_kib),
            anonymous_kib: self.anonymous_kib.max(other.anonymous_kib),
        }
    }
}

/// Watches a client from now on; without a process there is time, but no processor time.
pub struct Watch {
    pid: Option<u32>,
    started: Instant,
    sampled: Instant,
    cpu: f64,
    own_cpu: f64,
    idle: Memory,
    most: Memory,
}

/// What a [`Watch`] saw.
#[derive(Debug, Serialize)]
pub struct Usage {
    pub seconds: f64,
    pub mib_per_second: f64,
    /// Of the client.
    pub cpu_seconds: f64,
    pub cpu_seconds_per_gib: f64,
    /// Of the load itself: near `seconds`, it is the load that was measured.
    pub load_cpu_seconds: f64,
    /// The client's memory when the watch began, and its most since.
    pub memory_before: Memory,
    pub memory_most: Memory,
}

impl Watch {
    pub fn start(pid: Option<u32>) -> Result<Watch> {
        let now = Instant::now();
        let memory = pid.map_or(Ok(Memory::default()), Memory::of)?;
        Ok(Watch {
            pid,
            started: now,
            sampled: now,
            cpu: pid.map_or(Ok(0.0), cpu_seconds)?,
            own_cpu: cpu_seconds(std::process::id())?,
            idle: memory,
            most: memory,
        })
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The client's processor time since the start.
    pub fn cpu_seconds(&self) -> Result<f64> {
        Ok(self.pid.map_or(Ok(0.0), cpu_seconds)? - self.cpu)
    }

    /// Looks at the client's memory, if it is time to.
    pub fn sample(&mut self, now: Instant) -> Result<()> {
        if let Some(pid) = self.pid
            && now - self.sampled >= SAMPLE_EVERY
        {
            self.sampled = now;
            self.most = self.most.max(Memory::of(pid)?);
        }
        Ok(())
    }

    /// The figures for `bytes` moved in `seconds`.
    pub fn usage(&self, bytes: u64, seconds: f64) -> Result<Usage> {
        let cpu = self.cpu_seconds()?;
        let last = self.pid.map_or(Ok(Memory::default()), Memory::of)?;
        Ok(Usage {
            seconds,
            mib_per_second: bytes as f64 / seconds / f64::from(1 << 20),
            cpu_seconds: cpu,
            cpu_seconds_per_gib: if bytes == 0 {
                0.0
            } else {
                cpu * f64::from(1 << 30) / bytes as f64
            },
            load_cpu_seconds: cpu_seconds(std::process::id())? - self.own_cpu,
            memory_before: self.idle,
            memory_most: self.most.max(last),
        })
    }
}

/// Steps per doubling: values are kept to within 1/16.
const STEPS: u64 = 16;

/// How often each duration occurred, to within 6 %.
pub struct Histogram {
    counts: Vec<u64>,
}

/// Milliseconds within which a share of all requests was answered.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; (64 * STEPS) as usize] }
    }

    pub fn record(&mut self, duration: Duration) {
        let nanos = (duration.as_nanos() as u64).max(STEPS);
        let exponent = u64::from(nanos.ilog2());
        let step = (nanos >> (exponent - 4)) & (STEPS - 1);
        self.counts[(exponent * STEPS + step) as usize] += 1;
    }

    pub fn clear(&mut self) {
        self.counts.fill(0);
    }

    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_ms: self.quantile(0.5),
            p90_ms: self.quantile(0.9),
            p99_ms: self.quantile(0.99),
            p999_ms: self.quantile(0.999),
            max_ms: self.quantile(1.0),
        }
    }

    /// The upper end of the step that holds the quantile, in milliseconds; 0 if there is none.
    fn quantile(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let (exponent, step) = (index as u64 / STEPS, index as u64 % STEPS);
                return ((STEPS + step + 1) << exponent) as f64 / STEPS as f64 / 1e6;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_sixteenth() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let seen = histogram.percentiles();
        for (got, want) in [(seen.p50_ms, 500.0), (seen.p99_ms, 990.0), (seen.max_ms, 1000.0)] {
            assert!(got >= want && got <= want * 17.0 / 16.0, "{got} for {want}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_latency() {
        assert_eq!(Histogram::new().percentiles().max_ms, 0.0);
    }

    #[test]
    fn own_figures_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok());
        assert!(Memory::of(pid).is_ok_and(|memory| memory.rss_kib > 0));
    }
}
