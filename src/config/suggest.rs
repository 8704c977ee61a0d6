//! "Did you mean …?": the known word nearest to a mistyped one. It only suggests; it never corrects.

/// The candidate nearest to `word`, if one is near enough to be what was meant.
///
/// Optimal string alignment (Damerau-Levenshtein without overlapping edits), because a typing slip is mostly
/// one letter lost, doubled, changed or swapped. At most a third of the letters may differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normal(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &normal(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.chars().count().min(word.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean `x`?`, or nothing when no candidate is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|known| format!(", did you mean `{known}`?")).unwrap_or_default()
}

/// Case and the choice of dash are no mistakes worth counting.
fn normal(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["max_attempts", "connect_timeout", "stall_timeout", "url"];

    #[test]
    fn slips_of_the_hand_are_recognised() {
        for (slip, meant) in [
            ("max_atempts", "max_attempts"),
            ("max-attempts", "max_attempts"),
            ("MaxAttempts", "max_attempts"),
            ("conect_tiemout", "connect_timeout"),
            ("ulr", "url"),
        ] {
            assert_eq!(nearest(slip, KEYS), Some(meant), "{slip}");
        }
    }

    #[test]
    fn another_word_is_not_a_slip() {
        assert_eq!(nearest("temperature", KEYS), None);
        assert_eq!(nearest("x", KEYS), None);
        assert_eq!(nearest("", KEYS), None);
        assert_eq!(did_you_mean("temperature", KEYS), "");
        assert_eq!(did_you_mean("ulr", KEYS), ", did you mean `url`?");
    }
}
