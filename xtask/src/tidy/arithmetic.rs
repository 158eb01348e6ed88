//! The value of a constant expression: whole numbers, `+ - * / << >> & ^ |`, brackets, casts and names.
//!
//! It refuses to know types: a cast changes nothing, and what does not fit into 128 bits has no value.

/// What a name stands for.
pub(super) type Names<'a> = dyn Fn(&str) -> Option<i128> + 'a;

/// The value of `text`, if it is such an expression and all its names are known.
pub(super) fn evaluate(text: &str, names: &Names<'_>) -> Option<i128> {
    let mut tokens = tokens(text)?;
    tokens.reverse();
    let value = expression(&mut tokens, 0, names)?;
    tokens.is_empty().then_some(value)
}

fn tokens(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))).unwrap_or(rest.len());
        let len = match rest.as_bytes() {
            _ if word > 0 => word,
            [b'<', b'<', ..] | [b'>', b'>', ..] => 2,
            [b'+' | b'-' | b'*' | b'/' | b'|' | b'&' | b'^' | b'(' | b')', ..] => 1,
            _ => return None,
        };
        found.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    Some(found)
}

/// Precedence climbing over a reversed list of tokens.
fn expression(tokens: &mut Vec<&str>, binds: u8, names: &Names<'_>) -> Option<i128> {
    let mut left = match tokens.pop()? {
        "(" => {
            let inner = expression(tokens, 0, names)?;
            (tokens.pop()? == ")").then_some(inner)?
        }
        "-" => expression(tokens, 8, names)?.checked_neg()?,
        word => number(word).or_else(|| names(word))?,
    };
    while let Some(&operator) = tokens.last() {
        let strength = match operator {
            "as" => 7,
            "*" | "/" => 6,
            "+" | "-" => 5,
            "<<" | ">>" => 4,
            "&" => 3,
            "^" => 2,
            "|" => 1,
            _ => break,
        };
        if strength <= binds {
            break;
        }
        tokens.pop();
        if operator == "as" {
            tokens.pop()?;
            continue;
        }
        let right = expression(tokens, strength, names)?;
        left = apply(operator, left, right)?;
    }
    Some(left)
}

fn apply(operator: &str, left: i128, right: i128) -> Option<i128> {
    match operator {
        "*" => left.checked_mul(right),
        "/" => left.checked_div(right),
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "<<" => left.checked_shl(right.try_into().ok()?),
        ">>" => left.checked_shr(right.try_into().ok()?),
        "&" => Some(left & right),
        "^" => Some(left ^ right),
        "|" => Some(left | right),
        _ => None,
    }
}

fn number(word: &str) -> Option<i128> {
    let greatest = match word {
        "u8::MAX" => Some(u8::MAX.into()),
        "u16::MAX" => Some(u16::MAX.into()),
        "u32::MAX" => Some(u32::MAX.into()),
        "u64::MAX" => Some(u64::MAX.into()),
        "i32::MAX" => Some(i32::MAX.into()),
        "i64::MAX" => Some(i64::MAX.into()),
        _ => None,
    };
    if greatest.is_some() {
        return greatest;
    }
    let word = word.replace('_', "");
    let (radix, digits) = match word.get(..2) {
        Some("0x") => (16, &word[2..]),
        Some("0b") => (2, &word[2..]),
        Some("0o") => (8, &word[2..]),
        _ => (10, word.as_str()),
    };
    let suffixes = ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];
    let digits = suffixes.iter().find_map(|suffix| digits.strip_suffix(suffix)).unwrap_or(digits);
    i128::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_that_of_rust() {
        let names = |name: &str| (name.rsplit("::").next() == Some("TEN")).then_some(10);
        let cases = [
            ("1 + 2 * 3", Some(7)),
            ("(1 + 2) * 3 - 0x10", Some(-7)),
            ("1 << 4 | 1", Some(17)),
            ("1 | 2 ^ 3 & 1", Some(1 | 2 ^ 3 & 1)),
            ("10 - 3 - 2", Some(5)),
            ("8 / 2 / 2", Some(2)),
            ("(1 << 20) as u64 + 1_000u64", Some(1_049_576)),
            ("super::TEN * 2", Some(20)),
            ("u64::MAX / 2", Some(i128::from(u64::MAX / 2))),
            ("-1 + 3", Some(2)),
            ("1 / 0", None),
            ("UNKNOWN", None),
            ("1 +", None),
            ("(1", None),
            ("1 1", None),
            ("\"text\"", None),
        ];
        for (text, value) in cases {
            assert_eq!(evaluate(text, &names), value, "{text}");
        }
    }
}
