//! Numbers with units, as people write them: sizes and times.

use std::time::Duration;

/// A size in bytes: `4096`, `64K`, `10M`, `1.5G`, `2T`, in powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write bytes, or a number with K, M, G or T, as in 64M");
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    let (number, shift) = match short.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (&short[..at], 10 * (1 + "KMGT".find(unit).ok_or_else(wrong)?)),
        _ => (short, 0),
    };
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number * (1u64 << shift) as f64;
    if (1.0..=(1u64 << 50) as f64).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

/// A time in seconds, such as `5` or `0.25`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("{text:?} is no number of seconds: write 5 or 0.25"))?;
    // Longer than anybody waits, and short enough to be added to any time.
    Duration::try_from_secs_f64(seconds)
        .map(|time| time.min(Duration::from_secs(u32::MAX.into())))
        .map_err(|_| format!("{text:?} is no time to wait: write seconds, 0 or more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_units_of_1024() {
        let sizes = ["4096", "64K", "64k", "10MiB", "1.5G", "2tb"].map(|text| size(text).unwrap());
        assert_eq!(sizes, [4096, 64 << 10, 64 << 10, 10 << 20, 3 << 29, 2 << 40]);
        for wrong in ["", "M", "-1", "0", "64X", "1e300", "nan", "9999999T", "é"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds_and_never_negative() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert!(seconds("1e300").is_err() && seconds("-1").is_err() && seconds("nan").is_err() && seconds("x").is_err());
    }
}
