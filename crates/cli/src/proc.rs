//! What `/proc` says of a process, and of the machine's memory: lines of a name, a colon and a value.

use std::fs::read_to_string;

/// `/proc/self/status`. Empty where there is no `/proc`.
pub(crate) fn own_status() -> String {
    read_to_string("/proc/self/status").unwrap_or_default()
}

/// The value behind a name.
pub(crate) fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The signals that a process's status lists under a name, a bit for each. Where it says nothing: none.
pub(crate) fn signals(status: &str, name: &str) -> u64 {
    value(status, name).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
}

/// The bytes of memory that programs can still get.
pub(crate) fn available_memory() -> Option<u64> {
    available(&read_to_string("/proc/meminfo").ok()?)
}

fn available(info: &str) -> Option<u64> {
    value(info, "MemAvailable")?.strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::available;

    #[test]
    fn available_memory_is_read() {
        assert_eq!(available("MemTotal: 5 kB\nMemAvailable:   1024 kB\n"), Some(1 << 20));
        assert_eq!(available("MemTotal: 5 kB\n"), None);
    }
}
