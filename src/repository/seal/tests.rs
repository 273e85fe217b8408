use age::x25519::Identity;

use super::*;

struct Sealed {
    identity: Identity,
    plain: Vec<u8>,
    stored: Bytes,
    header: u64,
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn sealed(length: usize) -> Sealed {
    let (identity, other) = (Identity::generate(), Identity::generate());
    let recipients = Recipients::new([other.to_public(), identity.to_public()]);
    let plain = noise(length);
    let mut stored = plain.clone();
    seal(&recipients, &mut stored).unwrap();
    let header = header_length(&stored).unwrap();
    Sealed { identity, plain, stored: stored.into(), header }
}

impl Sealed {
    fn keys(&self, identity: &Identity) -> Keys {
        let texts = vec![self.identity.to_public().to_string()];
        let sealed = Arc::new(BTreeMap::from([(RecipientsId([7; 8]), texts)]));
        Keys { identities: Identities::new([identity.clone()]), sealed }
    }

    /// The part, with nothing at hand but the header and the segments that it needs.
    fn part(&self, offset: u64, length: u64) -> Option<SealedPart> {
        let (at, bytes) = segments(self.header, self.stored.len() as u64, offset, length)?;
        Some(SealedPart {
            pack: PackName([1; 32]),
            sealed: RecipientsId([7; 8]),
            header: self.stored.slice(..self.header as usize),
            at,
            segments: self.stored.slice(at as usize..(at + bytes) as usize),
            offset,
            length,
        })
    }
}

#[test]
fn what_is_sealed_is_an_age_file() {
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 1_000_000] {
        let sealed = sealed(length);
        assert!(sealed.header < HEADER_LIMIT);
        let decryptor = Decryptor::new(&sealed.stored[..]).unwrap();
        let mut plain = Vec::new();
        let identity: &dyn age::Identity = &sealed.identity;
        decryptor.decrypt(std::iter::once(identity)).unwrap().read_to_end(&mut plain).unwrap();
        assert!(plain == sealed.plain, "{length}");
    }
}

#[test]
fn the_header_of_as_many_recipients_as_allowed_is_short_enough() {
    let recipients = Recipients::new((0..20).map(|_| Identity::generate().to_public()));
    for _ in 0..20 {
        let mut stored = b"content".to_vec();
        seal(&recipients, &mut stored).unwrap();
        assert!(header_length(&stored).unwrap() <= HEADER_LIMIT);
    }
}

#[test]
fn every_part_is_read_from_its_own_segments() {
    for length in [1u64, 65_535, 65_536, 65_537, 200_000, 262_144] {
        let sealed = sealed(length as usize);
        let keys = sealed.keys(&sealed.identity);
        let edges = [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, length / 2, length - 1, length];
        let mut opener = Opener::default();
        for &from in edges.iter().chain(edges.iter().rev()) {
            for &to in &edges {
                let Some(part_length) = to.checked_sub(from).filter(|_| to <= length) else { continue };
                let part = sealed.part(from, part_length).unwrap();
                assert!(part.segments.len() as u64 <= (part_length / SEGMENT + 2) * (SEGMENT + TAG));
                let plain = opener.open(&keys, &part).unwrap();
                assert!(plain == sealed.plain[from as usize..to as usize], "{from}..{to} of {length}");
            }
        }
        assert!(sealed.part(0, length + 1).is_none() && sealed.part(length + 1, 0).is_none());
        assert!(sealed.part(u64::MAX, 1).is_none() && sealed.part(1, u64::MAX).is_none());
    }
    assert!(segments(u64::MAX, 5, 0, 1).is_none() && segments(300, u64::MAX, u64::MAX - 300, 1).is_none());
}

#[test]
fn another_identity_does_not_open_it_and_a_damaged_header_is_told_from_that() {
    let sealed = sealed(100_000);
    let part = sealed.part(10, 20).unwrap();
    let mut opener = Opener::default();
    let error = opener.open(&sealed.keys(&Identity::generate()), &part).unwrap_err();
    let recipient = sealed.identity.to_public().to_string();
    assert!(matches!(&error, RepositoryError::WrongIdentity { recipients, .. } if *recipients == recipient), "{error}");
    let info = PackInfo { name: part.pack, size: 1, sha256: String::new(), live: 1, content: 1, sealed: Some(part.sealed) };
    let none = Keys { identities: Identities::default(), ..sealed.keys(&sealed.identity) };
    assert!(matches!(none.could_open(&info), Err(RepositoryError::NoIdentity { .. })));
    // Of the header and nonce no byte may be another.
    for at in 0..sealed.header as usize {
        let mut header = part.header.to_vec();
        header[at] ^= 1;
        let damaged = SealedPart { header: header.into(), ..part.clone() };
        let error = Opener::default().open(&sealed.keys(&sealed.identity), &damaged).unwrap_err();
        assert!(matches!(error, RepositoryError::Damaged { .. }), "byte {at}: {error}");
    }
}

#[test]
fn what_was_changed_cut_or_moved_is_not_read() {
    let sealed = sealed(200_000);
    let keys = sealed.keys(&sealed.identity);
    let mut opener = Opener::default();
    let part = sealed.part(70_000, 100).unwrap();
    let mut refused = |part: SealedPart| {
        let error = opener.open(&keys, &part).unwrap_err();
        assert!(matches!(error, RepositoryError::Damaged { .. }), "{error}");
    };
    for at in [0, 1_000, 65_535, 65_551] {
        let mut bytes = part.segments.to_vec();
        bytes[at] ^= 1;
        refused(SealedPart { segments: bytes.into(), ..part.clone() });
    }
    refused(SealedPart { segments: part.segments.slice(..60_000), ..part.clone() });
    refused(SealedPart { segments: Bytes::new(), ..part.clone() });
    // Another segment of the same file.
    refused(SealedPart { segments: sealed.part(0, 10).unwrap().segments, ..part.clone() });
    // And what comes after all that is read.
    let plain = opener.open(&keys, &part).unwrap();
    assert!(plain == sealed.plain[70_000..70_100]);
}

#[test]
fn a_header_without_end_is_none() {
    assert_eq!(header_length(b""), None);
    assert_eq!(header_length(&[b'x'; 5000]), None);
    assert_eq!(header_length(b"age\n--- abc"), None);
    assert_eq!(header_length(b"age\n--- abc\nrest"), Some(12 + NONCE));
}
