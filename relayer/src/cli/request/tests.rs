use super::{chain::is_loopback, *};

#[test]
fn amounts_are_decimal_eth() {
    assert_eq!(parse_eth("0.001").unwrap(), U96::from(1_000_000_000_000_000u64));
    assert_eq!(parse_eth("0").unwrap(), U96::ZERO);
    for wrong in ["", "-1", "1 ether", "99999999999999999999", "0.0000000000000000001"] {
        assert!(parse_eth(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn only_loopback_hosts_are_local() {
    for (url, local) in [
        ("http://127.0.0.1:8545", true),
        ("ws://localhost:1", true),
        ("http://[::1]:8545", true),
        ("https://127.0.0.1.example.org", false),
        ("https://rpc.example.org", false),
    ] {
        assert_eq!(is_loopback(&url.parse().unwrap()), local, "{url}");
    }
}
