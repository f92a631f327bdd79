//! What it leaves behind when it is used, and what it does when it is not.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{ANSWER, COMMAND, checklist::Checklist, login::Login, machine::Machine, unit};

/// Questions that warm it up, and questions that must leave nothing behind.
const BEFORE: u32 = 50;
const ASKS: u32 = 1000;

/// Most kibibytes that its own memory may grow meanwhile: what an allocator keeps, and no leak of a
/// kilobyte a question.
const GROWTH: u64 = 1024;

/// How long it is watched doing nothing, and most times a second that it may wake up then.
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
        // What is counted is what happens in this time.
        tokio::time::sleep(WATCH).await;
        let after = switches(machine).await?;
        // A thread that ends does so once.
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

/// Asks so many times in one login, and checks every answer.
async fn ask(member: &Login<'_>, times: u32) -> Result<()> {
    let line = format!(
        "for i in $(seq {times}); do gemmactl ask '{COMMAND}' || exit 1; done | sort | uniq -c"
    );
    let answers = member.succeed(&line).await?;
    let all = format!("{times} {ANSWER}");
    ensure!(answers.trim() == all, "the answers are:\n{answers}");
    Ok(())
}

/// How large the process is.
struct Size {
    /// Memory of its own: what it has mapped from files is the kernel's to drop.
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

/// How often each of its threads was put on a core so far.
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
