use super::*;

#[test]
fn shares_are_all_packs_together_and_none_twice() {
    for of in [1, 2, 7, 30] {
        for byte in 0..=255 {
            let name = PackName([byte; 32]);
            assert_eq!((100..100 + u64::from(of)).filter(|&turn| Share::new(of, turn).has(&name)).count(), 1);
        }
    }
    assert!(Share::new(0, 5).has(&PackName([3; 32])));
}

#[test]
fn shares_are_read() {
    assert_eq!("1/30".parse(), Ok(ShareOf(30)));
    assert_eq!("1".parse(), Ok(ShareOf(1)));
    for wrong in ["", "30", "2/3", "1/0", "1/10001", "1/x", "/", "1/"] {
        assert!(wrong.parse::<ShareOf>().is_err(), "{wrong}");
    }
}
