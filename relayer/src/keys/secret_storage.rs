//! The Web3 Secret Storage form of an encrypted key, version 3, as the programs that write it understand it: `Crypto` for
//! `crypto`, numbers in quotes, 0x before hexadecimal digits, no `id`, an `iv` without its leading zeros.

use aes::{
    Aes128,
    cipher::{KeyIvInit, StreamCipher},
};
use alloy::primitives::{Address, keccak256};
use ctr::Ctr128BE;
use rand::RngCore;
use scrypt::Params;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::text;

/// Bytes of a key of secp256k1.
const KEY_BYTES: usize = 32;
/// Memory that scrypt may take, in blocks of 128 bytes: 1 GiB.
const MAX_SCRYPT_BLOCKS: u64 = 1 << 23;
/// Times that scrypt may go through its memory.
const MAX_SCRYPT_PASSES: u64 = 16;
const MAX_PBKDF2_ROUNDS: u64 = 10_000_000;

/// What it costs to try a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// scrypt with n = 2^18, as Geth writes by default: 256 MiB, and about a second.
    Standard,
    /// Next to nothing, for keys that everybody may have: those of tests.
    Light,
}

/// An encrypted key.
#[derive(Debug)]
pub(super) struct Encrypted {
    derivation: Derivation,
    iv: [u8; 16],
    ciphertext: [u8; KEY_BYTES],
    mac: [u8; 32],
    /// The account, where the file names it.
    pub(super) address: Option<Address>,
}

/// How a password becomes a key to decrypt with.
#[derive(Debug)]
enum Derivation {
    Scrypt { params: Params, salt: Vec<u8> },
    Pbkdf2 { rounds: u32, salt: Vec<u8> },
}

impl Encrypted {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// The reason why it cannot be used, which names the field.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let root: Value = serde_json::from_slice(text::without_bom(json)).map_err(|_| what_it_is(json))?;
        let root = Object::root(&root)?;
        if ["data", "iv", "salt"].iter().all(|name| root.map.contains_key(*name)) {
            return Err(
                "it is a MetaMask vault; export the account's private key there, and `cast wallet import` it".into()
            );
        }
        let version = root.number("version")?;
        if version != 3 {
            return Err(format!("`version` is {version}, and only 3 is known; export the key again"));
        }
        let crypto = root.object("crypto")?;
        crypto.only("cipher", "aes-128-ctr")?;
        let iv = crypto.object("cipherparams")?.bytes("iv")?;
        let too_long = || format!("`crypto.cipherparams.iv` has {} bytes, and 16 are the most", iv.len());
        // A number for eth-keyfile, which wrote it without leading zeros until 2022.
        let iv = leading_zeros(&iv).ok_or_else(too_long)?;
        let ciphertext = crypto.exactly::<KEY_BYTES>("ciphertext")?;
        let mac = crypto.exactly::<32>("mac")?;
        let derivation = Derivation::parse(&crypto)?;
        let address = match root.get("address")? {
            Some(Value::String(text)) if !text.is_empty() => {
                let address =
                    text.parse().map_err(|_| format!("`address` is `{}`, which is no address", text::shown(text)));
                Some(address?)
            }
            _ => None,
        };
        Ok(Self { derivation, iv, ciphertext, mac, address })
    }

    /// The key; `None` where the password is another.
    pub(super) fn decrypt(&self, password: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let derived = self.derivation.derive(password);
        if mac(&derived, &self.ciphertext) != self.mac {
            return None;
        }
        let mut key = Zeroizing::new(self.ciphertext);
        apply_cipher(&derived, &self.iv, &mut *key);
        Some(key)
    }
}

/// The JSON form of a key under a password.
pub(super) fn encrypt(key: &[u8; KEY_BYTES], address: Address, password: &[u8], cost: Cost) -> String {
    let log_n = match cost {
        Cost::Standard => 18,
        Cost::Light => 10,
    };
    let (r, p) = (8, 1);
    let [mut salt, mut id] = [[0u8; 32]; 2];
    let mut iv = [0u8; 16];
    let mut randomness = rand::rng();
    randomness.fill_bytes(&mut salt);
    randomness.fill_bytes(&mut iv);
    randomness.fill_bytes(&mut id);
    // In range: tests write at every cost.
    let params = Params::new(log_n, r, p).unwrap_or_default();
    let derived = Derivation::Scrypt { params, salt: salt.to_vec() }.derive(password);
    let mut ciphertext = *key;
    apply_cipher(&derived, &iv, &mut ciphertext);
    json!({
        "address": hex::encode(address),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": hex::encode(iv) },
            "ciphertext": hex::encode(ciphertext),
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": derived.len(),
                "n": 1u64 << params.log_n(),
                "p": params.p(),
                "r": params.r(),
                "salt": hex::encode(salt),
            },
            "mac": hex::encode(mac(&derived, &ciphertext)),
        },
        "id": uuid(&id),
        "version": 3,
    })
    .to_string()
}

impl Derivation {
    fn parse(crypto: &Object<'_>) -> Result<Self, String> {
        let kdf = crypto.text("kdf")?.to_ascii_lowercase();
        let params = crypto.object("kdfparams")?;
        let length = params.number("dklen")?;
        if length < 32 {
            return Err(format!("`crypto.kdfparams.dklen` is {length}, and 32 bytes are needed"));
        }
        let salt = params.bytes("salt")?;
        match kdf.as_str() {
            "scrypt" => {
                let [n, r, p] = [params.number("n")?, params.number("r")?, params.number("p")?];
                let affordable = n.saturating_mul(r) <= MAX_SCRYPT_BLOCKS && p <= MAX_SCRYPT_PASSES;
                let log_n = n.checked_ilog2().and_then(|log_n| u8::try_from(log_n).ok()).unwrap_or_default();
                let known = if n > 1 && n.is_power_of_two() && affordable {
                    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                    Params::new(log_n, small(r), small(p)).ok()
                } else {
                    None
                };
                let params = known.ok_or_else(|| {
                    format!(
                        "`crypto.kdfparams` are n = {n}, r = {r}, p = {p}: n is a power of two, n × r at most \
                         {MAX_SCRYPT_BLOCKS} (1 GiB of memory), and p at most {MAX_SCRYPT_PASSES}"
                    )
                })?;
                Ok(Self::Scrypt { params, salt })
            }
            "pbkdf2" => {
                params.only("prf", "hmac-sha256")?;
                let rounds = params.number("c")?;
                if !(1..=MAX_PBKDF2_ROUNDS).contains(&rounds) {
                    return Err(format!("`crypto.kdfparams.c` is {rounds}, and 1 to {MAX_PBKDF2_ROUNDS} are taken"));
                }
                Ok(Self::Pbkdf2 { rounds: u32::try_from(rounds).unwrap_or(u32::MAX), salt })
            }
            other => Err(format!("`crypto.kdf` is `{}`, and only scrypt and pbkdf2 are known", text::shown(other))),
        }
    }

    /// The first 32 bytes of the derived key. More are never used, and do not change these.
    fn derive(&self, password: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0u8; 32]);
        match self {
            Self::Scrypt { params, salt } => {
                // Fails for outputs of another length only.
                let _ = scrypt::scrypt(password, salt, params, &mut *derived);
            }
            Self::Pbkdf2 { rounds, salt } => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, *rounds, &mut *derived),
        }
        derived
    }
}

fn mac(derived: &[u8; 32], ciphertext: &[u8]) -> [u8; 32] {
    keccak256([&derived[16..], ciphertext].concat()).0
}

fn apply_cipher(derived: &[u8; 32], iv: &[u8; 16], bytes: &mut [u8]) {
    let mut key = Zeroizing::new([0u8; 16]);
    key.copy_from_slice(&derived[..16]);
    Ctr128BE::<Aes128>::new((&*key).into(), iv.into()).apply_keystream(bytes);
}

/// A random (version 4) UUID of random bytes.
fn uuid(random: &[u8; 32]) -> String {
    let mut id = [0u8; 16];
    id.copy_from_slice(&random[..16]);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let digits = hex::encode(id);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn leading_zeros<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut full = [0; N];
    full[N.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(full)
}

/// What a file that is no JSON is likely to be. It may hold a secret, and is not repeated.
fn what_it_is(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(text::without_bom(bytes)) else {
        return match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16; save it as UTF-8".into(),
            _ => "it is binary data, and a keystore is JSON".into(),
        };
    };
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if text.is_empty() {
        "it is empty".into()
    } else if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "it is a bare private key; encrypt it with `cast wallet import`, and delete it".into()
    } else {
        "it is not JSON, which keystores are; copy it again as a whole".into()
    }
}

/// An object of the form, with its path for messages. Names are read in any case: `Crypto` is what ethers writes.
struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    fn root(value: &'a Value) -> Result<Self, String> {
        let map = value.as_object().ok_or("it is JSON, but no object, which keystores are")?;
        Ok(Self { path: String::new(), map })
    }

    fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn get(&self, name: &str) -> Result<Option<&'a Value>, String> {
        let mut named = self.map.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = named.next();
        if named.next().is_some() {
            return Err(format!("`{}` is there twice; delete the wrong one", self.path(name)));
        }
        Ok(value)
    }

    fn value(&self, name: &str) -> Result<&'a Value, String> {
        self.get(name)?.ok_or_else(|| format!("`{}` is missing", self.path(name)))
    }

    fn object(&self, name: &str) -> Result<Self, String> {
        let path = self.path(name);
        let map = self.value(name)?.as_object().ok_or_else(|| format!("`{path}` is no object"))?;
        Ok(Self { path, map })
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.value(name)?.as_str().ok_or_else(|| format!("`{}` is no text", self.path(name)))
    }

    fn only(&self, name: &str, known: &str) -> Result<(), String> {
        let found = self.text(name)?;
        if found.eq_ignore_ascii_case(known) {
            return Ok(());
        }
        Err(format!("`{}` is `{}`, and only {known} is known", self.path(name), text::shown(found)))
    }

    /// A whole number, in quotes or not.
    fn number(&self, name: &str) -> Result<u64, String> {
        let number = match self.value(name)? {
            Value::String(text) => text.trim().parse().ok(),
            // 3.0 is 3 for programs that know no whole numbers.
            Value::Number(number) => number.as_u64().or_else(|| {
                number
                    .as_f64()
                    .filter(|float| float.fract() == 0.0 && (0.0..9e15).contains(float))
                    .map(|float| float as u64)
            }),
            _ => None,
        };
        number.ok_or_else(|| format!("`{}` is no whole number", self.path(name)))
    }

    /// Hexadecimal digits, with 0x before them or not.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        let text = self.text(name)?.trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        hex::decode(digits).map_err(|_| format!("`{}` is not of pairs of hexadecimal digits", self.path(name)))
    }

    fn exactly<const N: usize>(&self, name: &str) -> Result<[u8; N], String> {
        let bytes = self.bytes(name)?;
        let length = bytes.len();
        bytes.try_into().map_err(|_| format!("`{}` has {length} bytes instead of {N}", self.path(name)))
    }
}

#[cfg(test)]
mod tests;
