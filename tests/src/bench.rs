//! Functions that the benchmarks share.

/// Returns whether the command line selects the part with this name: `cargo bench … -- latency`. Without a name, it
/// selects all parts.
pub fn is_selected(name: &str) -> bool {
    let mut filters = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    filters.peek().is_none() || filters.any(|filter| name.contains(&filter))
}

/// Returns the median of the figures.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints one line of a comparison: the bare way, Daybook's way, their ratio, and whether the ratio meets the aim. The
/// boolean of an aim is true if the aim is the maximum of the ratio, and false if it is the minimum.
#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
pub fn print_comparison(name: &str, bare: &str, ours: &str, ratio: f64, aim: Option<(f64, bool)>) {
    let verdict = match aim {
        Some((aim, at_most)) if (ratio <= aim) == at_most => format!("aim {} {aim}", if at_most { "≤" } else { "≥" }),
        Some((aim, at_most)) => format!("aim {} {aim}  MISSED", if at_most { "≤" } else { "≥" }),
        None => String::new(),
    };
    println!("{name:<58} {bare:>14} {ours:>14}   {ratio:>5.2}   {verdict}");
}
