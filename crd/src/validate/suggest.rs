//! "Did you mean": the name that was probably meant.

/// The candidate nearest to `word`, if one is near.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Case and hyphens are the commonest slips and cost nothing.
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = plain(word);
    let limit = (wanted.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_of_the_finger_are_found_and_other_words_are_not() {
        assert_eq!(nearest("ulr", ["url", "tls"]), Some("url"));
        assert_eq!(nearest("requested_by", ["request", "requestedBy"]), Some("requestedBy"));
        assert_eq!(nearest("Aktive", ["Active", "Left"]), Some("Active"));
        assert_eq!(nearest("colour", ["names", "icon"]), None);
    }
}
