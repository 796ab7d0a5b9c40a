//! Zig-zag variable-length integers, as `ByteUtils.readVarint` and `readVarlong` read them. Unlike
//! `wire::codec` these make no error value and keep no cursor: every produced record passes here.

/// Reads a zig-zag varint of at most 5 bytes; `None` if the bytes end or a sixth byte would follow.
#[inline]
pub(super) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(zigzag_i32(u32::from(first)));
    }
    let mut value = u32::from(first & 0x7f);
    let mut left = rest;
    for shift in [7, 14, 21, 28] {
        let (&byte, rest) = left.split_first()?;
        left = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *bytes = left;
            return Some(zigzag_i32(value));
        }
    }
    None
}

/// Reads a zig-zag varint of at most 10 bytes; `None` if the bytes end or an eleventh byte would follow.
#[inline]
pub(super) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(i64::from(zigzag_i32(u32::from(first))));
    }
    let mut value = u64::from(first & 0x7f);
    let mut left = rest;
    for shift in (7..64).step_by(7) {
        let (&byte, rest) = left.split_first()?;
        left = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *bytes = left;
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Appends a zig-zag varint.
pub(super) fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u64(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends a zig-zag varint of up to 10 bytes.
pub(super) fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn zigzag_i32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let edges = [0, 1, -1, 63, -64, 64, -65, 8191, 8192, i32::MAX, i32::MIN];
        for value in edges {
            let mut bytes = Vec::new();
            write_i32(&mut bytes, value);
            let mut left = bytes.as_slice();
            assert_eq!(read_i32(&mut left), Some(value));
            assert!(left.is_empty());
        }
        for value in edges.map(i64::from).into_iter().chain([i64::MAX, i64::MIN, 1 << 40]) {
            let mut bytes = Vec::new();
            write_i64(&mut bytes, value);
            let mut left = bytes.as_slice();
            assert_eq!(read_i64(&mut left), Some(value));
            assert!(left.is_empty());
        }
    }

    #[test]
    fn an_end_or_an_overlong_value_is_refused_and_nothing_is_consumed() {
        for bytes in [&[][..], &[0x80], &[0xff; 4], &[0xff; 6]] {
            let mut left = bytes;
            assert_eq!(read_i32(&mut left), None);
            assert_eq!(left, bytes);
        }
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 11]] {
            let mut left = bytes;
            assert_eq!(read_i64(&mut left), None);
            assert_eq!(left, bytes);
        }
    }
}
