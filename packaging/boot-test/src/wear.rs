//! Leaks after many questions, and wake-ups while idle.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use gemmad_testbed::nano::{ANSWER, QUESTION};

use crate::{checklist::Checklist, login::Login, machine::Machine, unit};

/// Number of questions to warm up, and number of questions that must not leak.
const BEFORE: u32 = 50;
const ASKS: u32 = 1000;

/// Maximum growth of its private memory meanwhile, in KiB: what an allocator keeps, or just over 1 KiB per
/// question.
const GROWTH: u64 = 1024;

/// Time for which it is observed while idle, and maximum number of wake-ups per second in that time.
const WATCH: Duration = Duration::from_secs(20);
const WAKE_UPS: f64 = 5.0;

pub async fn checks(list: &mut Checklist, machine: &Machine, member: &Login<'_>) {
    let what = format!("{ASKS} questions leave memory and descriptors as they were");
    list.check(&what, async {
        ask(member, BEFORE).await?;
        let before = Size::of(machine).await?;
        ask(member, ASKS).await?;
        let after = Size::of(machine).await?;
        let Size {
            kibibytes,
            descriptors,
        } = before;
        ensure!(
            after.descriptors == descriptors,
            "{descriptors} descriptors became {}",
            after.descriptors
        );
        let grown = after.kibibytes.saturating_sub(kibibytes);
        ensure!(
            grown <= GROWTH,
            "{kibibytes} KiB of memory became {}",
            after.kibibytes
        );
        Ok(format!(
            "{descriptors} descriptors before and after, {kibibytes} KiB before and {} after",
            after.kibibytes
        ))
    })
    .await;
    list.check("idle, it hardly wakes up", async {
        let before = switches(machine).await?;
        // Wake-ups in this time are counted.
        tokio::time::sleep(WATCH).await;
        let after = switches(machine).await?;
        // A thread that ended in between is not counted.
        let count = |(thread, after): (&String, &u64)| {
            after.saturating_sub(before.get(thread).copied().unwrap_or_default())
        };
        let count: u64 = after.iter().map(count).sum();
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let rate = count as f64 / WATCH.as_secs_f64();
        ensure!(rate <= WAKE_UPS, "it wakes up {rate:.1} times a second");
        Ok(format!("{rate:.1} times a second"))
    })
    .await;
}

/// Asks `times` times in one login, and checks every answer.
async fn ask(member: &Login<'_>, times: u32) -> Result<()> {
    let line = format!(
        "for i in $(seq {times}); do gemmactl ask '{QUESTION}' || exit 1; done | sort | uniq -c"
    );
    let answers = member.succeed(&line).await?;
    let all = format!("{times} {ANSWER}");
    ensure!(answers.trim() == all, "the answers are:\n{answers}");
    Ok(())
}

/// Memory and descriptors of the process.
struct Size {
    /// Private memory, in KiB; pages mapped from files do not count, since the kernel can drop them.
    kibibytes: u64,
    descriptors: usize,
}

impl Size {
    async fn of(machine: &Machine) -> Result<Self> {
        let status = unit::process_file(machine, "status").await?;
        let own = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let own = own.and_then(|line| line.split_whitespace().next());
        let folder = format!("/proc/{}/fd", unit::process(machine).await?);
        Ok(Self {
            kibibytes: own
                .context("the kernel does not tell its memory")?
                .parse()?,
            descriptors: fs::read_dir(machine.living_path(&folder))?.count(),
        })
    }
}

/// Number of context switches of each of its threads so far.
async fn switches(machine: &Machine) -> Result<HashMap<String, u64>> {
    let folder = format!("/proc/{}/task", unit::process(machine).await?);
    let mut switches = HashMap::new();
    for thread in fs::read_dir(machine.living_path(&folder))? {
        let thread = thread?;
        let status = fs::read_to_string(thread.path().join("status"))?;
        let counts = status.lines().filter_map(|line| {
            let (name, count) = line.split_once(':')?;
            let is_count = name.ends_with("ctxt_switches");
            is_count.then(|| count.trim().parse::<u64>().ok())?
        });
        let name = thread.file_name().to_string_lossy().into_owned();
        switches.insert(name, counts.sum());
    }
    Ok(switches)
}
