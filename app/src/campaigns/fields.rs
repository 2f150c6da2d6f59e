//! The types of a campaign's fields in requests. Each type can hold only valid values, so an invalid value is rejected
//! while the body is parsed, and the error names the field by its path.

use serde::Deserializer;

use crate::prelude::*;

const MAX_NAME_CHARS: usize = 200;
const MAX_REASON_CHARS: usize = 1_000;
/// The maximum length of an address, in characters: 64 before the @ and 255 after it (RFC 5321 §4.5.3.1).
const MAX_EMAIL_CHARS: usize = 320;
const BUDGET_LIMIT: u64 = 1_000_000_000_000_000;
const MAX_BUDGET_DECIMALS: u32 = 6;
/// The number of decimal digits that a binary64 number, which most clients use for JSON numbers, keeps exactly.
const EXACT_DIGITS: usize = 15;

/// 1 to 200 characters, not all blank.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(as = CampaignName, value_type = String, min_length = 1, max_length = 200, example = "Spring")]
pub(super) struct Name(pub(super) String);

/// An amount of money: at least zero, below 10^15, at most six decimals. A string such as `"250.00"`, or a number.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "SentDecimal")]
#[schema(as = CampaignBudget, value_type = String, example = "250.00")]
pub(super) struct Budget(pub(super) Decimal);

/// An e-mail address. Only its form is checked.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(as = CampaignEmail, value_type = String, max_length = 320, example = "client@example.com")]
pub(super) struct Email(pub(super) String);

/// The reason for a change: 1 to 1000 characters.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(as = CampaignReason, value_type = String, min_length = 1, max_length = 1000)]
pub(super) struct ReasonText(pub(super) String);

/// Reads a field so that null is distinguished from a field that is left out. Use it as
/// `#[serde(default, deserialize_with = "present")]` on an `Option<Option<T>>`. On an `Option<T>`, null is rejected
/// because it is not a `T`.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_text(&text, MAX_NAME_CHARS)?;
        Ok(Self(text))
    }
}

impl TryFrom<String> for ReasonText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_text(&text, MAX_REASON_CHARS)?;
        Ok(Self(text))
    }
}

fn check_text(text: &str, max_chars: usize) -> Result<(), String> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > max_chars {
        return Err(format!(
            "must be 1 to {max_chars} characters, not all blank; it has {chars}"
        ));
    }
    Ok(())
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let two_sided = text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
        if !plain || !two_sided || text.chars().count() > MAX_EMAIL_CHARS {
            return Err("must be an e-mail address such as client@example.com");
        }
        Ok(Self(text))
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "must be a decimal number, preferably a string such as \"250.00\""
)]
enum SentDecimal {
    Text(String),
    Number(serde_json::Number),
}

impl TryFrom<SentDecimal> for Budget {
    type Error = &'static str;

    fn try_from(sent: SentDecimal) -> Result<Self, &'static str> {
        let amount = match sent {
            SentDecimal::Text(text) => decimal(&text)?,
            SentDecimal::Number(number) => exact(&number)?,
        };
        if amount < Decimal::ZERO {
            return Err("must be zero or more");
        }
        if amount >= Decimal::from(BUDGET_LIMIT) {
            return Err("must be below 10^15");
        }
        if amount.scale() > MAX_BUDGET_DECIMALS {
            return Err("must have at most 6 decimals");
        }
        Ok(Self(amount))
    }
}

/// Parses digits with at most one point. All digits are kept.
fn decimal(text: &str) -> Result<Decimal, &'static str> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let shaped = match unsigned.split_once('.') {
        Some((whole, decimals)) => digits(whole) && digits(decimals),
        None => digits(unsigned),
    };
    if !shaped {
        return Err("must be a decimal number, preferably a string such as \"250.00\"");
    }
    Decimal::from_str_exact(text).map_err(|_| "must be below 10^15, with at most 6 decimals")
}

/// Converts a JSON number. Rejects a number with so many digits that it may have been rounded.
fn exact(number: &serde_json::Number) -> Result<Decimal, &'static str> {
    let text = number.to_string();
    if number.is_f64() {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
        if digits > EXACT_DIGITS {
            return Err("has more digits than a JSON number can keep; send it as a string");
        }
    }
    Decimal::from_str_exact(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .map_err(|_| "must be below 10^15, with at most 6 decimals")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn budget(sent: serde_json::Value) -> Result<String, String> {
        serde_json::from_value::<Budget>(sent)
            .map(|budget| budget.0.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_budget_keeps_the_digits_it_was_sent_with() {
        for (sent, kept) in [
            (json!("250"), "250"),
            (json!("250.00"), "250.00"),
            (json!("0"), "0"),
            (json!("999999999999999.999999"), "999999999999999.999999"),
            (json!(250), "250"),
            (json!(0.1), "0.1"),
            (json!(1e3), "1000.0"),
        ] {
            assert_eq!(budget(sent).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn an_invalid_budget_is_rejected_with_a_reason() {
        for (sent, reason) in [
            (json!("-0.01"), "zero or more"),
            (json!(-1), "zero or more"),
            (json!("1000000000000000"), "below 10^15"),
            (json!(1e300), "below 10^15"),
            (json!("0.0000001"), "6 decimals"),
            (json!("0.00000000000000000000000000000000001"), "6 decimals"),
            (json!(0.123_456_789_012_345_6), "send it as a string"),
            (json!("1e3"), "a decimal number"),
            (json!("1_000"), "a decimal number"),
            (json!(""), "a decimal number"),
            (json!(".5"), "a decimal number"),
            (json!(null), "a decimal number"),
            (json!([1]), "a decimal number"),
        ] {
            let error = budget(sent.clone()).unwrap_err();
            assert!(error.contains(reason), "{sent}: {error}");
        }
    }

    #[test]
    fn names_and_addresses_are_validated() {
        for wrong in ["", " \n", &"x".repeat(201)] {
            assert!(Name::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(Name::try_from("é".repeat(200)).is_ok());
        for wrong in ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\n"] {
            assert!(Email::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(Email::try_from("ada@example.com".to_owned()).is_ok());
    }
}
