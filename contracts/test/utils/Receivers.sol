// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceConsumer} from "../../src/interfaces/IInferenceConsumer.sol";
import {Outcome} from "../../src/types/Request.sol";

/// @notice Refuses every wei.
contract Refuser {
    receive() external payable {
        revert();
    }
}

/// @notice Calls somebody while it is paid, and keeps what came of it.
contract Reenterer {
    address private immutable target;
    bytes private call;
    bool public succeeded;
    bytes public answer;

    constructor(address target_) {
        target = target_;
    }

    function prepare(bytes calldata call_) external {
        call = call_;
        (succeeded, answer) = (false, "");
    }

    /// @notice Does something as this contract.
    function act(bytes calldata call_) external payable {
        (bool done, bytes memory data) = target.call{value: msg.value}(call_);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(data, 0x20), mload(data))
            }
        }
    }

    receive() external payable {
        (succeeded, answer) = target.call(call);
    }
}

/// @notice A consumer that takes answers, or refuses them while it is told to.
contract SwitchConsumer is IInferenceConsumer {
    bool public refusing;
    uint256 public answers;

    function setRefusing(bool on) external {
        refusing = on;
    }

    function onInference(bytes32, Outcome, bytes calldata) external {
        require(!refusing, "refusing");
        ++answers;
    }
}
