//! Numbers as people write them.

pub(crate) use fusion_core::plan::outputs::size;

/// `1 tensor`, `2 tensors`
pub(crate) fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ if noun.ends_with(['s', 'x']) => format!("{count} {noun}es"),
        _ if noun.ends_with('y') => format!("{count} {}ies", &noun[..noun.len() - 1]),
        _ => format!("{count} {noun}s"),
    }
}

/// `6.74 B`, `412 M`, `1 234`
pub(crate) fn count(value: u64) -> String {
    let x = value as f64;
    for (unit, scale) in [("T", 1e12), ("B", 1e9), ("M", 1e6)] {
        if x >= scale {
            let digits = if x < 10.0 * scale {
                2
            } else if x < 100.0 * scale {
                1
            } else {
                0
            };
            return format!("{:.*} {unit}", digits, x / scale);
        }
    }
    grouped(value)
}

/// `1 234 567`
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 0.1 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole % 3600 / 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s} s"),
        (h, min, _) => format!("{h} h {min} min"),
    }
}

/// Bytes of a size such as `512MB`, `2 GiB`, `1.5GB` or `4096`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number
        .replace('_', "")
        .parse()
        .map_err(|_| "write a number with a unit, for example `512MB` or `2GiB`".to_owned())?;
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        other => return Err(format!("unknown unit `{other}`: use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")),
    };
    let bytes = number * scale as f64;
    if bytes < 1.0 || bytes > 2f64.powi(60) {
        return Err("the size must lie between 1 byte and 1 EiB".to_owned());
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_written() {
        assert_eq!(parse_bytes("512MB"), Ok(512_000_000));
        assert_eq!(parse_bytes(" 2 GiB"), Ok(2 << 30));
        assert_eq!(parse_bytes("1.5gb"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "MB", "5 XB", "0", "-1MB", "1e9TB", "99999999TB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(6_738_415_616), "6.74 B");
        assert_eq!(count(412_000_000), "412 M");
        assert_eq!(count(12_345), "12 345");
        assert_eq!(duration(0.0123), "12 ms");
        assert_eq!(duration(3.16), "3.2 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
        assert_eq!(plural(1, "pass"), "1 pass");
        assert_eq!(plural(3, "pass"), "3 passes");
        assert_eq!(plural(2, "fix"), "2 fixes");
        assert_eq!(plural(2, "entry"), "2 entries");
    }
}
