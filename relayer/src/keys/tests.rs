use alloy::signers::local::PrivateKeySigner;

use super::*;

fn password(text: &str) -> Password {
    Password::new(text.into(), "the test".into()).unwrap()
}

#[test]
fn a_new_keystore_opens_with_its_password_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/signer.json");
    let key = create(&path, &password("right"), Cost::Light).unwrap();
    assert_eq!(decrypt(&path, &password("right")).unwrap().address(), key.address());
    let error = decrypt(&path, &password("wrong")).unwrap_err();
    assert!(matches!(error, KeyError::WrongPassword { .. }));
    let shown = error.to_string();
    assert!(shown.starts_with("wrong password for the keystore") && shown.ends_with("check the test"), "{shown}");
    assert!(!shown.contains("wrong\""));
}

#[cfg(unix)]
#[test]
fn a_new_keystore_is_readable_by_its_owner_alone_and_nothing_else_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    create(&path, &password("x"), Cost::Light).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_keystore_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    let first = create(&path, &password("x"), Cost::Light).unwrap();
    assert_eq!(create(&path, &password("y"), Cost::Light).unwrap_err(), KeyError::Exists { path: path.clone() });
    assert_eq!(decrypt(&path, &password("x")).unwrap().address(), first.address());
}

#[test]
fn a_missing_keystore_says_how_to_get_one() {
    let error = open(Path::new("/nowhere/key.json"), PasswordSource::default()).unwrap_err().to_string();
    assert_eq!(error, "there is no keystore at /nowhere/key.json; `oraculum init` makes one, or correct the path");
}

#[test]
fn files_that_are_no_keystore_are_refused_before_a_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    create(&path, &password("x"), Cost::Light).unwrap();
    let good: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut bad = vec!["".to_owned(), "{}".to_owned(), "0xac09".to_owned()];
    for (pointer, value) in [
        ("/version", serde_json::json!(1)),
        ("/crypto/cipher", serde_json::json!("aes-256-gcm")),
        ("/crypto/cipherparams/iv", serde_json::json!("00".repeat(17))),
        ("/crypto/ciphertext", serde_json::json!("00")),
        ("/crypto/kdfparams/dklen", serde_json::json!(16)),
        ("/crypto/kdfparams/n", serde_json::json!(0)),
        ("/crypto/kdfparams/n", serde_json::json!(1u32 << 31)),
        ("/crypto/kdfparams/p", serde_json::json!(1000)),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        bad.push(changed.to_string());
    }
    for text in bad {
        std::fs::write(&path, &text).unwrap();
        let error = open(&path, PasswordSource::default()).unwrap_err();
        assert!(matches!(error, KeyError::NotAKeystore { .. }), "{text}: {error}");
    }
}

#[test]
fn a_password_file_loses_the_end_of_its_line_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    for (contents, expected) in
        [("a b\n", "a b"), ("\u{feff}a b\n", "a b"), ("a b\r\n", "a b"), ("a b", "a b"), (" a \n\n", " a \n")]
    {
        std::fs::write(&path, contents).unwrap();
        assert_eq!(*Password::from_file(&path).unwrap().text, expected);
    }
    std::fs::write(&path, "\n").unwrap();
    assert!(matches!(Password::from_file(&path).unwrap_err(), KeyError::EmptyPassword { .. }));
    std::fs::write(&path, [0xff]).unwrap();
    assert!(matches!(Password::from_file(&path).unwrap_err(), KeyError::PasswordFile { .. }));
    let missing = Password::from_file(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the password file"), "{missing}");
}

#[test]
fn a_file_of_the_command_line_comes_before_that_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let [argument, config] = ["argument", "config"].map(|name| folder.path().join(name));
    std::fs::write(&argument, "first").unwrap();
    std::fs::write(&config, "second").unwrap();
    let source = PasswordSource { argument: Some(&argument), config: Some(&config) };
    assert_eq!(*source.password("x").unwrap().text, "first");
}

#[test]
fn one_keystore_can_sign_and_send() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    let file = folder.path().join("password");
    std::fs::write(&file, "x").unwrap();
    create(&path, &password("x"), Cost::Light).unwrap();
    let settings = KeySettings { signer: path.clone(), senders: vec![path], password_file: None };
    let keys = Keys::load(&settings, Some(&file), &TypedPasswords::default()).unwrap();
    assert_eq!(keys.signer.address(), keys.senders[0].address());
}

#[test]
fn neither_keys_nor_passwords_are_shown() {
    let key = PrivateKeySigner::random();
    let keys = Keys { signer: Arc::new(key.clone()), senders: vec![Arc::new(key.clone())] };
    let shown = format!("{keys:?} {:?} {key:?}", password("hunter2"));
    assert!(!shown.contains("hunter2") && !shown.contains(&hex::encode(key.to_bytes())), "{shown}");
}

#[test]
#[cfg(unix)]
fn of_a_password_file_that_others_can_read_is_warned_once_however_many_keys_it_opens() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let [file, log] = ["password", "log"].map(|name| folder.path().join(name));
    std::fs::write(&file, "x").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let keystores = ["signer", "sender", "other"].map(|name| folder.path().join(name));
    for path in &keystores {
        create(path, &password("x"), Cost::Light).unwrap();
    }
    let [signer, senders @ ..] = keystores;
    let settings = KeySettings { signer, senders: senders.to_vec(), password_file: Some(file) };
    let writer = std::sync::Mutex::new(std::fs::File::create(&log).unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, || {
        for _nodes_of_a_process in 0..2 {
            Keys::load(&settings, None, &TypedPasswords::default()).unwrap();
        }
    });
    let told = std::fs::read_to_string(&log).unwrap();
    assert_eq!(told.matches("can be read by others").count(), 1, "{told}");
}
