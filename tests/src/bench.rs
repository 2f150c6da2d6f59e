//! What benches share.

/// Whether the command line asks for the part of this name: `cargo bench … -- latency`; all of them if it names none.
pub fn wanted(name: &str) -> bool {
    let mut filters = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    filters.peek().is_none() || filters.any(|filter| name.contains(&filter))
}

/// The middle of some figures.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The line of a comparison: how ours stands to the bare way, and whether that is what was aimed at. An aim is a ratio, and
/// whether it is the most that ours may have; else it is the least.
#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
pub fn compared(name: &str, bare: &str, ours: &str, ratio: f64, aim: Option<(f64, bool)>) {
    let verdict = match aim {
        Some((aim, at_most)) if (ratio <= aim) == at_most => format!("aim {} {aim}", if at_most { "≤" } else { "≥" }),
        Some((aim, at_most)) => format!("aim {} {aim}  MISSED", if at_most { "≤" } else { "≥" }),
        None => String::new(),
    };
    println!("{name:<58} {bare:>14} {ours:>14}   {ratio:>5.2}   {verdict}");
}
