//! Text that is not UTF-8, as Java's `String(bytes, UTF_8)` reads it: each malformed sequence becomes one U+FFFD.

use std::borrow::Cow;

/// The text, borrowed where it is UTF-8.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(replaced(bytes)), Cow::Borrowed)
}

/// What [`String::from_utf8_lossy`] does not do as Java: one character for a whole surrogate, and for what is cut off at the
/// end with its first byte.
fn replaced(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    while !bytes.is_empty() {
        let error = match std::str::from_utf8(bytes) {
            Ok(rest) => {
                text.push_str(rest);
                break;
            }
            Err(error) => error,
        };
        let (good, bad) = bytes.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(good).unwrap_or_default());
        text.push(char::REPLACEMENT_CHARACTER);
        bytes = bad.get(malformed(bad)..).unwrap_or_default();
    }
    text
}

/// How many bytes at the start of what is not UTF-8 one replacement character stands for.
fn malformed(bytes: &[u8]) -> usize {
    let follows = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    match bytes {
        // Surrogates have the form of characters: all three bytes, or what there is of them at the end.
        [0xed, 0xa0..=0xbf, ..] if follows(2) => 3,
        [0xe0, 0xa0..=0xbf, ..] | [0xe1..=0xef, 0x80..=0xbf, ..] => 2,
        [0xf0, 0x90..=0xbf, ..] | [0xf1..=0xf3, 0x80..=0xbf, ..] | [0xf4, 0x80..=0x8f, ..] => {
            2 + usize::from(follows(2))
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_text_is_read_as_java_reads_it() {
        let r = |n: usize| "\u{fffd}".repeat(n);
        let table: [(&[u8], String); 14] = [
            (b"plain", "plain".into()),
            ("\u{e4}\u{20ac}\u{1f600}".as_bytes(), "\u{e4}\u{20ac}\u{1f600}".into()),
            (b"a\xffb\x80", format!("a{}b{}", r(1), r(1))),
            (b"\xc0\xaf", r(2)),
            (b"\xc3(", format!("{}(", r(1))),
            (b"\xe2\x82", r(1)),
            (b"\xe2\x82x", format!("{}x", r(1))),
            (b"\xed\xa0\x80", r(1)),
            (b"\xed\xa0", r(1)),
            (b"\xed\xa0\x80\xed\xb0\x80", r(2)),
            (b"\xf0\x9f\x98", r(1)),
            (b"\xf0\x80\x80\x80", r(4)),
            (b"\xf4\x90\x80\x80", r(4)),
            (b"\xf5\x80", r(2)),
        ];
        for (bytes, expected) in table {
            assert_eq!(text(bytes), expected, "{bytes:x?}");
        }
    }

    /// The sum was computed by Java 17 and its `new String(bytes, UTF_8)` in the same way.
    #[test]
    fn all_short_sequences_are_read_as_java_reads_them() {
        const BYTES: [u8; 24] = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
            0xed, 0xee, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        let mut sum = 0u64;
        for length in 1..=4u32 {
            for mut number in 0..24usize.pow(length) {
                let bytes: Vec<u8> = (0..length)
                    .map(|_| {
                        let byte = BYTES[number % 24];
                        number /= 24;
                        byte
                    })
                    .collect();
                for byte in text(&bytes).bytes().chain([0xfe]) {
                    sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
                }
            }
        }
        assert_eq!(sum, JAVA_SUM);
    }

    const JAVA_SUM: u64 = 6_610_724_947_612_608_869;
}
