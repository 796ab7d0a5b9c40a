//! Which cores to run on: as many as the affinity mask and the cgroup's CPU quota allow, or what the user chose.

use std::fs;

use core_affinity::CoreId;

use crate::base::limits::SHARDS_MAX;
use crate::config::Cores;

/// The cores to run on; None where a thread is not pinned (more threads than cores were asked for).
///
/// # Errors
/// In words, if a core that was named is not available.
pub fn choose(choice: Option<&Cores>) -> Result<Vec<Option<CoreId>>, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    match choice {
        None => {
            let quota = cpu_quota().unwrap_or(usize::MAX);
            let count = allowed.len().min(quota).clamp(1, SHARDS_MAX);
            Ok(take(&allowed, count))
        }
        Some(Cores::Count(count)) => {
            if *count > allowed.len() {
                let allowed = allowed.len();
                tracing::warn!(
                    asked = count,
                    allowed,
                    "more cores are asked for than the process may use: their threads share those, which is slower"
                );
            }
            Ok(take(&allowed, *count))
        }
        Some(Cores::List(these)) => these
            .iter()
            .map(|id| {
                let core = allowed.iter().find(|c| c.id == *id).copied().map(Some);
                core.ok_or_else(|| {
                    let names: Vec<String> = allowed.iter().map(|c| c.id.to_string()).collect();
                    let names = names.join(", ");
                    format!("core {id} is not available to this process; available: {names}")
                })
            })
            .collect(),
    }
}

fn take(allowed: &[CoreId], count: usize) -> Vec<Option<CoreId>> {
    if count > allowed.len() {
        return vec![None; count];
    }
    allowed.iter().take(count).map(|c| Some(*c)).collect()
}

/// Whole cores that the cgroup's quota amounts to, at least one; None without a quota.
fn cpu_quota() -> Option<usize> {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cpu.max").ok();
    if let Some(quota) = v2.as_deref().and_then(quota_v2) {
        return Some(quota);
    }
    let quota = fs::read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").ok()?;
    let period = fs::read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_period_us").ok()?;
    quota_of(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn quota_v2(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    quota_of(quota.parse().ok()?, period.parse().ok()?)
}

fn quota_of(quota: i64, period: i64) -> Option<usize> {
    (quota > 0 && period > 0).then(|| (quota as usize).div_ceil(period as usize).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        assert_eq!(quota_v2("max 100000"), None);
        assert_eq!(quota_v2("150000 100000\n"), Some(2));
        assert_eq!(quota_v2("50000 100000"), Some(1));
        assert_eq!(quota_of(-1, 100_000), None);
    }
}
