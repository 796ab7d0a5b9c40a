//! Java's `.properties` syntax (`java.util.Properties.load`).

use super::error::ConfigError;
use std::fmt::Write as _;

/// The pairs of a properties text in their order; a key may appear more than once, and its last value holds.
///
/// Comments begin with `#` or `!`, a key ends at `=`, `:` or a blank, a line that ends with a backslash goes on
/// in the next one, and `\t \n \r \f \uXXXX` are escapes.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    Ok(parse_lines(text)?.into_iter().map(|(_, key, value)| (key, value)).collect())
}

/// As [`parse`], with the number of the line, from 1, that each pair begins in.
pub fn parse_lines(text: &str) -> Result<Vec<(usize, String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    let mut natural = natural_lines(text).enumerate();
    while let Some((number, first)) = natural.next() {
        let mut logical = first.trim_start_matches(is_blank).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&logical) {
            logical.pop();
            if logical.is_empty() {
                break; // nothing goes on, so the next line begins anew
            }
            let Some((_, next)) = natural.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        if logical.is_empty() {
            continue;
        }
        let (key, value) = split(&logical);
        let malformed = || ConfigError::Escape { line: number + 1, text: first.to_owned() };
        let (key, value) = (unescape(key).ok_or_else(malformed)?, unescape(value).ok_or_else(malformed)?);
        pairs.push((number + 1, key, value));
    }
    Ok(pairs)
}

/// One pair as a line that [`parse`] reads back.
pub fn line(key: &str, value: &str) -> String {
    format!("{}={}", escape(key, true), escape(value, false))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines that end with `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let after = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        rest = Some(&text[after..]);
        Some(&text[..end])
    })
}

/// Whether a line ends with an odd number of backslashes.
fn goes_on(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// Key and value of a logical line, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let value = line[end..].trim_start_matches(is_blank);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(is_blank))
}

/// None for a `\u` that is not followed by four hexadecimal digits.
fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    // Escapes are UTF-16: two of them may make one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = if c == '\\' { chars.next().unwrap_or_default() } else { c };
        let meant = match plain {
            _ if c != '\\' => plain,
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\x0c',
            'u' => {
                let digits = chars.as_str().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                units.push(u16::from_str_radix(digits, 16).ok()?);
                chars = chars.as_str()[4..].chars();
                continue;
            }
            other => other,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn escape(text: &str, key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x0c' => out.push_str("\\f"),
            ' ' if key || i == 0 => out.push_str("\\ "),
            '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
            c if c.is_ascii_graphic() || c == ' ' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}"); // cannot fail
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax() {
        // Checked against java.util.Properties.
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("a=b", &[("a", "b")]),
            ("a = b ", &[("a", "b ")]),
            ("  a:b", &[("a", "b")]),
            ("a b c", &[("a", "b c")]),
            ("a  =  b", &[("a", "b")]),
            ("a = = b", &[("a", "= b")]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=b", &[("", "b")]),
            ("# x\n ! y\n\n\t\na=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
            ("a=1,\\\n   2,\\\r\n\t3", &[("a", "1,2,3")]),
            ("a=x\\\\\nb=y", &[("a", "x\\"), ("b", "y")]),
            ("a=x\\\n# not a comment", &[("a", "x# not a comment")]),
            ("a=x\\\n\nb=1", &[("a", "x"), ("b", "1")]),
            ("a=x\\", &[("a", "x")]),
            ("a\\ b\\=c=d", &[("a b=c", "d")]),
            ("a=\\t\\n\\r\\f\\q\\\\", &[("a", "\t\n\r\x0cq\\")]),
            ("a=\\u00e9\\uD83D\\uDE00", &[("a", "é😀")]),
            ("a=1\na=2", &[("a", "1"), ("a", "2")]),
            ("a=b#c", &[("a", "b#c")]),
            ("\\\n# c\nx=1", &[("x", "1")]),
            ("a=1\\\n\\\n2", &[("a", "12")]),
        ];
        for (text, want) in table {
            let got = parse(text).unwrap();
            let want: Vec<_> = want.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(got, want, "{text:?}");
        }
        assert_eq!(
            parse("a=1\nb=\\u12x4").unwrap_err().to_string(),
            "Malformed \\uxxxx encoding in line 2: b=\\u12x4"
        );
    }

    #[test]
    fn a_written_line_reads_back() {
        for (k, v) in [("a", "b"), ("a b:c", " x=y #!\\ \n"), ("ä", "😀 "), ("", "")] {
            assert_eq!(parse(&line(k, v)).unwrap(), [(k.to_owned(), v.to_owned())]);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a=: \\t\\\\\\n\\ru0-9é#!]{0,40}", any in ".{0,40}") {
            let _ = parse(&text);
            let _ = parse(&any);
            proptest::prop_assert_eq!(
                parse(&line(&text, &any)).unwrap(), [(text, any)]
            );
        }
    }
}
