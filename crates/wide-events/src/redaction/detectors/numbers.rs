//! Checks of payment card numbers and IP addresses that a pattern can't do.

use std::net::IpAddr;

/// Returns whether a number has the first digits of an issuer, a length that this issuer uses, and a correct check
/// digit.
pub(super) fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let starts_as = match digits.as_slice() {
        [4, ..] => [13, 16, 19].contains(&digits.len()),
        [3, 4 | 7, ..] => digits.len() == 15,
        [3, ..] => (14..=19).contains(&digits.len()),
        [5, 1..=5, ..] | [2, 2..=7, ..] => digits.len() == 16,
        [5 | 6, ..] => (13..=19).contains(&digits.len()),
        _ => false,
    };
    starts_as && luhn(&digits)
}

/// Finds a card number in groups of digits. Other groups, such as a date, may be beside it; a group is never split.
pub(super) fn card_in(row: &str) -> Option<&str> {
    let is_digit = |at: usize| row.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let begins = (0..row.len()).filter(|at| is_digit(*at) && !(*at > 0 && is_digit(at - 1)));
    for begin in begins {
        let ends = (begin + 1..=row.len())
            .rev()
            .filter(|end| is_digit(end - 1) && !is_digit(*end));
        for part in ends.filter_map(|end| row.get(begin..end)) {
            if is_card(part) {
                return Some(part);
            }
        }
    }
    None
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled @ 10..) => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Parses an IP address. Returns none for `::`, for times of day and for networks such as `120.0.0.0`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    // The match may begin with another word: `addr:203.0.113.7`.
    let alone = text.rsplit_once(':').map_or(text, |(_, last)| last);
    let address: IpAddr = text.parse().or_else(|_| alone.parse()).ok()?;
    let address = address.to_canonical();
    // Versions of browsers such as 120.0.0.0 look like an address, but of a network and not of a host.
    let is_host = match address {
        IpAddr::V4(address) => !matches!(address.octets(), [_, _, 0, 0]),
        IpAddr::V6(address) => !address.is_unspecified(),
    };
    is_host.then_some(address)
}
