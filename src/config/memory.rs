//! How many users and how much of their data the memory holds, when `max_users` and `data.max_bytes` are not set.

use std::path::Path;

/// Bytes of resident memory that one resting user takes.
const BYTES_PER_USER: u64 = 72;
/// Share of the memory that users may fill; the rest is for tables that grow, tokens, requests and a snapshot.
const PERCENT: u64 = 60;
/// Assumed where the system does not say (not Linux, or `/proc` hidden).
const UNKNOWN_MEMORY: u64 = 1 << 30;

/// Users that fit: 60 % of the memory, or of the control group's limit if that is lower, at 72 bytes each.
///
/// `read` gives the text of a file, or `None` where there is none: asked for `/proc/meminfo`, `/proc/self/cgroup` and,
/// below `/sys/fs/cgroup`, the limits of the process's group and of every group above it.
pub fn default_max_users(read: impl Fn(&Path) -> Option<String>) -> u64 {
    (memory(read) / 100 * PERCENT / BYTES_PER_USER).max(1)
}

/// Bytes that all documents together may have: 25 % of the same memory. `read` as in [`default_max_users`].
pub fn default_data_bytes(read: impl Fn(&Path) -> Option<String>) -> u64 {
    memory(read) / 4
}

fn memory(read: impl Fn(&Path) -> Option<String>) -> u64 {
    let total = read(Path::new("/proc/meminfo")).and_then(|text| total_memory(&text)).unwrap_or(UNKNOWN_MEMORY);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limit = groups.lines().filter_map(|line| group_limit(line, &read)).min();
    limit.map_or(total, |limit| limit.min(total))
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The lowest limit on the way from the group of this line of `/proc/self/cgroup` to the root.
fn group_limit(line: &str, read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        some if some.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    // "max" is no number and no limit; version 1 says "no limit" with a number beyond any memory
    Path::new(group.trim_start_matches('/'))
        .ancestors()
        .filter_map(|group| read(&Path::new(root).join(group).join(file))?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_memory_and_group_limits_counts() {
        const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n");
        const GROUP: (&str, &str) = ("/proc/self/cgroup", "0::/system.slice/passerby.service\n");
        let users = |bytes: u64| bytes / 100 * 60 / 72;
        let cases: &[(&[(&str, &str)], u64)] = &[
            (&[], users(1 << 30)),
            (&[("/proc/meminfo", "nonsense")], users(1 << 30)),
            (&[MEMINFO], users(8_192_000_000)),
            (&[MEMINFO, GROUP], users(8_192_000_000)),
            (
                &[MEMINFO, GROUP, ("/sys/fs/cgroup/system.slice/passerby.service/memory.max", "max\n")],
                users(8_192_000_000),
            ),
            (
                &[MEMINFO, GROUP, ("/sys/fs/cgroup/system.slice/passerby.service/memory.max", "1000000000\n")],
                users(1_000_000_000),
            ),
            (
                &[
                    MEMINFO,
                    GROUP,
                    ("/sys/fs/cgroup/system.slice/passerby.service/memory.max", "1000000000\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "500000000\n"),
                ],
                users(500_000_000),
            ),
            (
                &[MEMINFO, ("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "700000000\n")],
                users(700_000_000),
            ),
            (
                &[
                    MEMINFO,
                    ("/proc/self/cgroup", "5:cpu,memory:/docker/a\n1:pids:/docker/a\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "600000000\n"),
                ],
                users(600_000_000),
            ),
            (
                &[
                    MEMINFO,
                    ("/proc/self/cgroup", "5:memory:/\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                users(8_192_000_000),
            ),
        ];
        for (files, expected) in cases {
            let read = |path: &Path| {
                files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(default_max_users(read), *expected, "{files:?}");
        }
        let eight = |path: &Path| (path == Path::new(MEMINFO.0)).then(|| MEMINFO.1.to_owned());
        assert_eq!(default_data_bytes(eight), 2_048_000_000, "a quarter of it for documents");
    }
}
