//! Durations (`"250ms"`) and sizes (`"32MiB"`), both ways: what [`duration_text`] and [`size_text`] write,
//! [`duration`] and [`size`] read back exactly.

use std::time::Duration;

use bytesize::ByteSize;

/// No deadline is longer. Far below where `Instant + Duration` overflows, which would panic.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads `"250ms"`, `"10s"`, `"1h 30m"`; `None` when it is none or longer than [`LONGEST`].
pub(crate) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok().filter(|duration| *duration <= LONGEST)
}

/// Writes a duration as the file would.
pub(crate) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Reads `"32MiB"`, `"1.5GB"`, `"65536"` into bytes; `None` when it is none or does not fit.
pub(crate) fn size(text: &str) -> Option<usize> {
    let size: ByteSize = text.trim().parse().ok()?;
    usize::try_from(size.as_u64()).ok().filter(|size| *size <= isize::MAX as usize)
}

/// Writes bytes in the largest unit that divides them.
pub(crate) fn size_text(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [
            ("250ms", Some(250)),
            (" 10s ", Some(10_000)),
            ("5m", Some(300_000)),
            ("1h 30m", Some(5_400_000)),
            ("0s", Some(0)),
            ("0d", Some(0)),
            ("10", None),
            ("", None),
            ("-1s", None),
            ("ten seconds", None),
            ("101years", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("32MiB", Some(32 << 20)),
            ("1.5 KiB", Some(1536)),
            ("2MB", Some(2_000_000)),
            ("65536", Some(65536)),
            ("32 parsecs", None),
            ("", None),
            ("-1MiB", None),
            ("999999999999999999EiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_exact_unit() {
        assert_eq!(size_text(32 << 20), "32MiB");
        assert_eq!(size_text(1536), "1536B");
        assert_eq!(size_text(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0u64..100_000_000_000, bytes in 0usize..1 << 50) {
            let length = Duration::from_millis(millis);
            prop_assert_eq!(duration(&duration_text(length)), Some(length));
            prop_assert_eq!(size(&size_text(bytes)), Some(bytes));
        }
    }
}
