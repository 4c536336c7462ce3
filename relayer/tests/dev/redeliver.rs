//! A callback that fails, and its answer delivered after all.

use std::time::{Duration, Instant};

use alloy::{
    primitives::hex,
    sol_types::{Revert, SolError},
};
use serde_json::{Value, json as value};

use super::{Dev, failure, json, mine, oraculum, rpc};

/// Code that reverts with data.
fn reverting(data: &[u8]) -> String {
    let length = u8::try_from(data.len()).unwrap();
    // CODECOPY the data behind these 12 bytes, and revert with it.
    let code = [&[0x60, length, 0x60, 12, 0x5f, 0x39, 0x60, length, 0x5f, 0xfd, 0, 0][..], data].concat();
    hex::encode_prefixed(code)
}

#[test]
fn an_answer_whose_callback_failed_is_delivered_once_the_consumer_takes_it() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = oraculum();
    command.stderr(log.reopen().unwrap());
    let dev = Dev::start_by(command, &[]);
    let consumer = dev.deployment["consumers"]["irisClassifier"].as_str().unwrap();
    let code = rpc(dev.url(), "eth_getCode", value!([consumer, "latest"]));
    let set_code = |code: &str| rpc(dev.url(), "anvil_setCode", value!([consumer, code]));
    let ask = || {
        // classify(int32[4]) of 51, 35, 14 and 2, whose answer meets a contract that has other code meanwhile.
        dev.signal("-STOP");
        let numbers = [51, 35, 14, 2].map(|size| format!("{size:064x}")).concat();
        let selector = &alloy::primitives::keccak256("classify(int32[4])")[..4];
        let asked = value!([{
            "from": dev.deployment["user"], "to": consumer, "value": "0x5af3107a4000",
            "data": format!("{}{numbers}", hex::encode_prefixed(selector)),
        }]);
        rpc(dev.url(), "eth_sendTransaction", asked);
    };
    let failed = |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let told = std::fs::read_to_string(log.path()).unwrap();
            let lines: Vec<_> = told.lines().filter(|line| line.contains("callback failed")).collect();
            if lines.len() == count {
                return lines[count - 1].to_owned();
            }
            assert!(Instant::now() < deadline, "no callback failed:\n{told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let redeliver = |id: &str, more: &[&str]| dev.beside(&[&["request", "redeliver", id, "--json"][..], more].concat());

    ask();
    set_code(&reverting(&Revert::from("not today").abi_encode()));
    dev.signal("-CONT");
    let line = failed(1);
    assert!(line.contains("the contract reverts: not today"), "{line}");
    let (_, command) = line.split_once("`oraculum ").unwrap();
    let id = command.split_once('`').unwrap().0.strip_prefix("request redeliver ").unwrap().to_owned();
    let (code_of_exit, told) = failure(&redeliver(&id, &[]));
    assert_eq!(code_of_exit, Some(1), "{told}");
    assert!(told.contains("would fail again") && told.contains("the contract reverts: not today"), "{told}");
    // JUMPDEST and back to it, for as long as there is gas.
    set_code("0x5b5f56");
    let (_, told) = failure(&redeliver(&id, &["--gas-limit", "150000"]));
    assert!(told.contains("needs more than its 150000 gas"), "{told}");

    set_code(code.as_str().unwrap());
    let done = json(&redeliver(&id, &["--gas-limit", "200000"]));
    assert_eq!((&done["id"], &done["gasLimit"]), (&Value::from(id.as_str()), &200_000.into()));
    assert!(failure(&redeliver(&id, &[])).1.contains("is delivered already (AlreadyDelivered)"));

    ask();
    set_code(&reverting(&[]));
    dev.signal("-CONT");
    let line = failed(2);
    assert!(line.contains("reverts without a reason"), "{line}");
    let late = line.split_once("redeliver ").unwrap().1.split('`').next().unwrap().to_owned();
    mine(dev.url(), 33);
    let told = failure(&redeliver(&late, &[])).1;
    assert!(told.contains("alone may redeliver after the vesting block; call the consumer's own function"), "{told}");
    let unknown = format!("0x{}", "07".repeat(32));
    assert!(failure(&redeliver(&unknown, &[])).1.contains("there is no request 0x0707"));
}
