//! Names with `*` for any characters and `?` for one, as Transmission's lists have them.

/// Whether text is as the pattern says, in time proportional to the product of their lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit: one byte further in the text.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    (p, t) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The entries of a list as people write them: separated by commas or semicolons.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ';']).map(str::trim).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, as slow as it may be.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if slowly(rest, text) => true,
            (Some((b'*', _)), Some((_, left))) => slowly(pattern, left),
            (Some((byte, rest)), Some((first, left))) => {
                (*byte == b'?' || byte == first) && slowly(rest, left)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(
            pattern in "[ab*?]{0,8}",
            text in "[ab]{0,10}",
        ) {
            prop_assert_eq!(
                matches(&pattern, &text),
                slowly(pattern.as_bytes(), text.as_bytes())
            );
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a".repeat(2000);
        assert!(!matches(&pattern, &"b".repeat(10_000)));
    }
}
