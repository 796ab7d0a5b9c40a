//! The topics in a consumer's metadata (`ConsumerProtocolSubscription`). Every version starts like version 0, so that is
//! what is read, whatever the version.

/// The topics, or None if the bytes are not a subscription.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut rest = metadata;
    if i16::from_be_bytes(take(&mut rest)?) < 0 {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).ok()?;
    // A topic takes at least its length's two bytes.
    if count > rest.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, behind) = rest.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = behind;
    }
    let user_data = i32::from_be_bytes(take(&mut rest)?);
    (user_data < 0 || user_data as usize <= rest.len()).then_some(topics)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::topics;

    #[test]
    fn reads_any_version_and_refuses_damage() {
        let v1 = [0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0xff, 0xff, 0xff, 0xff, 9, 9];
        assert_eq!(topics(&v1), Some(vec!["a".to_owned(), "bc".to_owned()]));
        for end in 0..17 {
            assert_eq!(topics(&v1[..end]), None, "cut at {end}");
        }
        assert_eq!(topics(&[0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), None, "a negative version");
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None, "more topics than bytes");
        assert_eq!(topics(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 9]), None, "user data behind the end");
    }
}
