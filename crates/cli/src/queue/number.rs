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

/// A hundred years, in seconds.
const LONGEST: f64 = 3_155_760_000.0;

/// Seconds, with fractions, or a number with the unit s, m, h or d.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        Some((at, 'd')) => (&text[..at], 86400.0),
        _ => (text, 1.0),
    };
    let seconds: f64 = digits.parse().map_err(|_| format!("{text:?} is no time: 0.5, 10s, 5m, 2h or 1d"))?;
    // Later than that is never: a moment beyond can't be told.
    let seconds = if seconds * unit > LONGEST { LONGEST } else { seconds * unit };
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text:?} is no time that can pass"))
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
    fn times_have_units_and_are_never_negative() {
        let millis = |text| time(text).unwrap().as_millis();
        assert_eq!([millis("0.5"), millis("10s"), millis("1.5m"), millis("2h")], [500, 10_000, 90_000, 7_200_000]);
        assert!(["", "s", "-1", "1x", "nan", "-inf", "é"].into_iter().all(|text| time(text).is_err()));
    }
}
