//! Masks values so that people recognise their form and nobody can use them.

/// Masks e-mail and IP addresses with [`email`] and [`ip`], and other texts as `s***t`. Texts of less than four
/// characters become `***`. The mask doesn't show the length.
pub(super) fn text(text: &str) -> String {
    if text.contains('@') {
        return email(text);
    }
    if let Ok(address) = text.parse() {
        return ip(&address);
    }
    let mut letters = text.chars();
    match (letters.next(), letters.next_back()) {
        (Some(first), Some(last)) if letters.nth(1).is_some() => format!("{first}***{last}"),
        _ => "***".to_owned(),
    }
}

/// Masks `ada.lovelace@mail.example.com` as `a***@m***.e***.com`: each part before the last dot keeps its first letter.
pub(super) fn email(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let mut masked = first_letter(local);
    masked.push('@');
    let mut labels = domain.split('.').peekable();
    while let Some(label) = labels.next() {
        if labels.peek().is_some() {
            masked.push_str(&first_letter(label));
            masked.push('.');
        } else {
            masked.push_str(label);
        }
    }
    masked
}

/// Masks a card number: its first digit and its last four are kept, as on receipts.
pub(super) fn card(digits: &str) -> String {
    let plain: String = digits.chars().filter(char::is_ascii_digit).collect();
    let first: String = plain.chars().take(1).collect();
    let last = plain.get(plain.len().saturating_sub(4)..).unwrap_or_default();
    format!("{first}***{last}")
}

/// Masks an IP address but keeps its network: `203.0.113.***`, `2001:db8:***`.
pub(super) fn ip(address: &std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.***")
        }
        std::net::IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            format!("{a:x}:{b:x}:***")
        }
    }
}

fn first_letter(word: &str) -> String {
    word.chars().take(1).chain("***".chars()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn masks_keep_the_form() {
        assert_eq!(super::text("hunter2"), "h***2");
        assert_eq!(super::text("abc"), "***");
        assert_eq!(super::text("ünïcödé"), "ü***é");
        assert_eq!(super::text("ada@example.com"), "a***@e***.com");
        assert_eq!(super::email("ada.lovelace@mail.example.com"), "a***@m***.e***.com");
        assert_eq!(super::card("4111 1111 1111 1234"), "4***1234");
        assert_eq!(super::ip(&"203.0.113.7".parse().unwrap()), "203.0.113.***");
        assert_eq!(super::ip(&"2001:db8::1".parse().unwrap()), "2001:db8:***");
    }
}
