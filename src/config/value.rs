//! Values of keys, and their text form.

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A text, a class name or a secret.
    Text(String),
    /// A 32-bit number.
    Int(i32),
    /// A 16-bit number.
    Short(i16),
    /// A 64-bit number.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// Texts.
    List(Vec<String>),
}

impl Value {
    /// The text form that clients see (`ConfigDef.convertToString`). None for no value.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Value::Null => return None,
            Value::Boolean(v) => v.to_string(),
            Value::Text(v) => v.clone(),
            Value::Int(v) => v.to_string(),
            Value::Short(v) => v.to_string(),
            Value::Long(v) => v.to_string(),
            Value::Double(v) => double_text(*v),
            Value::List(v) => v.join(","),
        })
    }

    /// The form in error messages: lists in brackets, as Java shows them.
    pub(super) fn show(&self) -> String {
        match self {
            Value::List(v) => format!("[{}]", v.join(", ")),
            other => other.to_text().unwrap_or_else(|| "null".to_owned()),
        }
    }

    /// The number, if this is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(v) => Some(f64::from(*v)),
            Value::Short(v) => Some(f64::from(*v)),
            Value::Long(v) => Some(*v as f64),
            Value::Double(v) => Some(*v),
            _ => None,
        }
    }

    /// The whole number, if this is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(v) => Some(i64::from(*v)),
            Value::Short(v) => Some(i64::from(*v)),
            Value::Long(v) => Some(*v),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(v) => Some(v),
            _ => None,
        }
    }

    /// The list, if this is one.
    pub fn as_list(&self) -> Option<&[String]> {
        match self {
            Value::List(v) => Some(v),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(v) => Some(*v),
            _ => None,
        }
    }
}

/// Without the blanks and control characters around it, as Java's `String.trim`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// The entries of a trimmed list; none for an empty text.
pub(super) fn list_parts(trimmed: &str) -> Vec<String> {
    if trimmed.is_empty() {
        return Vec::new();
    }
    // Blanks around a comma belong to the comma.
    trimmed
        .split(',')
        .map(|part| part.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']).to_owned())
        .collect()
}

/// A number in Java's notation (`Double.parseDouble`, without its hexadecimal form).
pub(super) fn parse_double(text: &str) -> Option<f64> {
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    match text {
        "NaN" | "+NaN" | "-NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => digits.parse().ok(),
        _ => None,
    }
}

/// Java's `Double.toString`.
fn double_text(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = v.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{v:?}");
    }
    let text = format!("{v:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_as_java_writes_them() {
        let table = [
            (0.5, "0.5"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (f64::MAX, "1.7976931348623157E308"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (-2.5e10, "-2.5E10"),
        ];
        for (v, want) in table {
            assert_eq!(double_text(v), want);
            assert_eq!(parse_double(want), Some(v));
        }
        assert_eq!(parse_double("inf"), None);
        assert_eq!(parse_double("1d"), Some(1.0));
        assert_eq!(parse_double(""), None);
    }

    #[test]
    fn lists() {
        assert_eq!(list_parts(""), Vec::<String>::new());
        assert_eq!(list_parts("a , b"), ["a", "b"]);
        assert_eq!(list_parts("a,,b"), ["a", "", "b"]);
    }
}
