//! Numbers that are recognised by more than their look: payment cards and addresses.

use std::net::IpAddr;

/// An issuer's first digits, as many digits as it gives out, and the check digit right.
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

/// The card's number in a row of digits that may have others beside it, as a date has: whole groups of them.
pub(super) fn card_in(row: &str) -> Option<&str> {
    let is_digit = |place: usize| row.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let begins = (0..row.len()).filter(|place| is_digit(*place) && !(*place > 0 && is_digit(place - 1)));
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

/// An IP address. `::` and times of day are not redacted.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    // After other words: `addr:203.0.113.7`.
    let alone = text.rsplit_once(':').map_or(text, |(_, last)| last);
    let address: IpAddr = text.parse().or_else(|_| alone.parse()).ok()?;
    let address = address.to_canonical();
    // Browsers have versions such as 120.0.0.0, which is a network and no host.
    let is_host = match address {
        IpAddr::V4(address) => !matches!(address.octets(), [_, _, 0, 0]),
        IpAddr::V6(address) => !address.is_unspecified(),
    };
    is_host.then_some(address)
}
