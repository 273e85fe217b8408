//! "Did you mean …?": the known word that a mistyped one is closest to.

/// The candidate nearest to `word`, when it is near enough to be a slip of the fingers: a third of its letters at most.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).max(1);
    let ranked = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    ranked.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// How many letters must be added, left out, changed, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_letter = None;
    for (row, letter) in a.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in b.iter().enumerate() {
            let cell = |line: &[usize], at: usize| line.get(at).copied().unwrap_or(usize::MAX - 1);
            let change = cell(&last, column) + usize::from(letter != *other);
            let mut best = change.min(cell(&last, column + 1) + 1).min(cell(&current, column) + 1);
            let swapped = column > 0 && previous_letter == Some(*other) && b.get(column - 1) == Some(&letter);
            if swapped {
                best = best.min(cell(&before_last, column - 1) + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous_letter = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, slips) in [
            ("", "", 0),
            ("ab", "", 2),
            ("schedule", "schedule", 0),
            ("shedule", "schedule", 1),
            ("scehdule", "schedule", 1),
            ("port", "host", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (slips, slips), "{a} {b}");
        }
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["schedule", "time_zone", "path"];
        assert_eq!(nearest("shedule", known), Some("schedule"));
        assert_eq!(nearest("timezone", known), Some("time_zone"));
        assert_eq!(nearest("pathe", known), Some("path"));
        assert_eq!(nearest("colour", known), None);
    }
}
