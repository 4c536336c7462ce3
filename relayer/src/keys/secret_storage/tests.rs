use std::{fs, path::Path};

use alloy::primitives::hex;
use proptest::prelude::*;

use super::*;

/// The key in every keystore of the fixtures, and their password.
const KEY: [u8; 32] = hex!("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318");
const PASSWORD: &[u8] = b"correct horse";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keystores");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn opens(json: &[u8]) {
    let encrypted =
        Encrypted::parse(json).unwrap_or_else(|reason| panic!("{reason}: {}", String::from_utf8_lossy(json)));
    assert_eq!(encrypted.decrypt(PASSWORD).map(|key| *key), Some(KEY), "{}", String::from_utf8_lossy(json));
    assert!(encrypted.decrypt(b"correct horsf").is_none());
}

/// F6: keystores as ethers, web3.js, web3.py (which Brownie uses), cast and the library of MetaMask write them.
#[test]
fn whatever_other_programs_write_opens() {
    let names: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keystores"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        opens(fixture(&name).as_bytes());
    }
}

/// F6: the vectors of the Web3 Secret Storage definition, which Geth is tested with.
#[test]
fn the_definitions_own_vectors_open() {
    let scrypt = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    let pbkdf2 = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    let expected = hex!("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    for vector in [scrypt, pbkdf2] {
        let key = Encrypted::parse(vector.as_bytes()).unwrap().decrypt(b"testpassword");
        assert_eq!(key.map(|key| *key), Some(expected));
    }
}

/// F6: each way of writing that was found to be refused.
#[test]
fn ways_of_writing_that_mean_the_same_open() {
    let plain: Value = serde_json::from_str(&fixture("web3js-4.json")).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json = plain.clone();
        change(&mut json);
        json.to_string()
    };
    let with_0x = |value: &mut Value| *value = format!("0x{}", value.as_str().unwrap()).into();
    let cases = [
        changed(&|json| drop(json.as_object_mut().unwrap().remove("id"))),
        changed(&|json| json["id"] = "not a UUID".into()),
        changed(&|json| json["version"] = "3".into()),
        changed(&|json| json["version"] = 3.0.into()),
        changed(&|json| json["address"] = "".into()),
        changed(&|json| json["crypto"]["kdfparams"]["n"] = "1024".into()),
        changed(&|json| json["crypto"]["kdfparams"]["dklen"] = 64.into()),
        changed(&|json| {
            for field in
                ["/crypto/ciphertext", "/crypto/mac", "/crypto/cipherparams/iv", "/crypto/kdfparams/salt", "/address"]
            {
                with_0x(json.pointer_mut(field).unwrap());
            }
        }),
        changed(&|json| json["crypto"]["mac"] = json["crypto"]["mac"].as_str().unwrap().to_uppercase().into()),
        format!("\u{feff}{plain}\r\n"),
        plain.to_string().replace("\"crypto\"", "\"Crypto\"").replace("cipherparams", "cipherParams"),
    ];
    for json in cases {
        opens(json.as_bytes());
    }
}

/// F6: what cannot be used says which field is to blame.
#[test]
fn a_fault_names_its_field() {
    let plain: Value = serde_json::from_str(&fixture("web3js-4.json")).unwrap();
    let pbkdf2: Value = serde_json::from_str(&fixture("web3js-4-pbkdf2.json")).unwrap();
    let refused = |json: &str| Encrypted::parse(json.as_bytes()).map(drop).unwrap_err();
    for (json, pointer, value) in [
        (&plain, "/version", json!(1)),
        (&plain, "/version", json!("three")),
        (&plain, "/address", json!("0x12")),
        (&plain, "/crypto", json!([])),
        (&plain, "/crypto/cipher", json!("aes-256-gcm")),
        (&plain, "/crypto/cipherparams/iv", json!("00".repeat(17))),
        (&plain, "/crypto/ciphertext", json!("00")),
        (&plain, "/crypto/mac", json!("0")),
        (&plain, "/crypto/kdf", json!("argon2\nid")),
        (&plain, "/crypto/kdfparams/dklen", json!(16)),
        (&plain, "/crypto/kdfparams/salt", json!("salt")),
        (&pbkdf2, "/crypto/kdfparams/prf", json!("hmac-sha512")),
        (&pbkdf2, "/crypto/kdfparams/c", json!(0)),
        (&pbkdf2, "/crypto/kdfparams/c", json!(1u64 << 32)),
    ] {
        let field = pointer[1..].replace('/', ".");
        let mut changed = json.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let reason = refused(&changed.to_string());
        assert!(reason.contains(&format!("`{field}`")) && !reason.contains('\n'), "{field}: {reason}");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        if name != "address" {
            assert_eq!(refused(&changed.to_string()), format!("`{field}` is missing"));
        }
    }
    for (n, r, p) in
        [(0u64, 8, 1), (1, 8, 1), (1000, 8, 1), (1 << 31, 8, 1), (1 << 18, 0, 1), (1 << 18, 8, 0), (1 << 18, 8, 17)]
    {
        let mut changed = plain.clone();
        changed["crypto"]["kdfparams"]["n"] = n.into();
        changed["crypto"]["kdfparams"]["r"] = r.into();
        changed["crypto"]["kdfparams"]["p"] = p.into();
        assert!(refused(&changed.to_string()).contains("`crypto.kdfparams`"));
    }
    let twice = plain.to_string().replacen('{', "{\"Crypto\":{},", 1);
    assert!(refused(&twice).contains("`crypto` is there twice"));
}

/// F6: a file that is something else says what, and never what is in it.
#[test]
fn a_file_that_is_no_keystore_says_what_it_is() {
    let secret = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
    for (bytes, what) in [
        (b"".to_vec(), "empty"),
        (secret.into(), "bare private key"),
        (format!("0x{secret}\n").into(), "bare private key"),
        (b"{\"crypto\":".to_vec(), "not JSON"),
        (b"\xff\xfe{\0}\0".to_vec(), "UTF-16"),
        (vec![0x80, 0, 1], "binary"),
        (b"[]".to_vec(), "no object"),
        (b"{\"data\":\"x\",\"iv\":\"x\",\"salt\":\"x\"}".to_vec(), "MetaMask vault"),
    ] {
        let reason = Encrypted::parse(&bytes).map(drop).unwrap_err();
        assert!(reason.contains(what) && !reason.contains(secret), "{what}: {reason}");
    }
}

#[test]
fn what_is_written_opens_and_is_as_costly_as_asked() {
    for (cost, n) in [(Cost::Light, 1 << 10), (Cost::Standard, 1 << 18)] {
        let json = encrypt(&KEY, Address::repeat_byte(7), PASSWORD, cost);
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["crypto"]["kdfparams"]["n"], n);
        let encrypted = Encrypted::parse(json.as_bytes()).unwrap();
        assert_eq!(encrypted.decrypt(PASSWORD).map(|key| *key), Some(KEY));
        assert_eq!(encrypted.address, Some(Address::repeat_byte(7)));
        let id = value["id"].as_str().unwrap();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
    }
}

proptest! {
    /// F6: however a valid file is damaged, the reason is one line, and nothing panics.
    #[test]
    fn a_damaged_keystore_is_refused_in_one_line(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut json = fixture("web3js-4.json").into_bytes();
        let index = at.index(json.len());
        json[index] = byte;
        if let Some(cut) = cut {
            json.truncate(cut.index(json.len()));
        }
        if let Err(reason) = Encrypted::parse(&json) {
            prop_assert!(!reason.is_empty() && reason.len() < 400 && !reason.chars().any(char::is_control), "{:?}", reason);
        }
    }
}
