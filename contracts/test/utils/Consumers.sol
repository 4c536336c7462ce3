// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceConsumer} from "../../src/interfaces/IInferenceConsumer.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Outcome} from "../../src/types/Request.sol";

/// @notice Keeps what it is told, and the gas it had when it was told.
contract RecordingConsumer is IInferenceConsumer {
    bytes32 public requestId;
    Outcome public outcome;
    bytes public output;
    uint256 public gasAtStart;

    function onInference(bytes32 requestId_, Outcome outcome_, bytes calldata output_) external {
        uint256 left = gasleft();
        (requestId, outcome, output, gasAtStart) = (requestId_, outcome_, output_, left);
    }
}

/// @notice Burns all its gas.
contract BurningConsumer is IInferenceConsumer {
    function onInference(bytes32, Outcome, bytes calldata) external pure {
        assembly {
            invalid()
        }
    }
}

/// @notice Answers with 100 kB, by return or by revert.
contract LoudConsumer is IInferenceConsumer {
    bool private immutable reverts;

    constructor(bool reverts_) {
        reverts = reverts_;
    }

    function onInference(bytes32, Outcome, bytes calldata) external view {
        bool bad = reverts;
        assembly {
            if bad { revert(0, 102400) }
            return(0, 102400)
        }
    }
}

/// @notice Takes memory of 100 kB as `LoudConsumer` does, and returns nothing.
contract QuietConsumer is IInferenceConsumer {
    function onInference(bytes32, Outcome, bytes calldata) external pure {
        assembly {
            mstore(102368, 0)
            return(0, 0)
        }
    }
}

/// @notice Calls the coordinator back, and keeps what came of it.
contract ReentrantConsumer is IInferenceConsumer {
    IInferenceCoordinator private immutable coordinator;
    bytes[] private calls;
    bytes[] public answers;
    bool[] public succeeded;

    constructor(IInferenceCoordinator coordinator_) {
        coordinator = coordinator_;
    }

    function prepare(bytes calldata call_) external {
        calls.push(call_);
    }

    function onInference(bytes32, Outcome, bytes calldata) external {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done, bytes memory answer) = address(coordinator).call(calls[i]);
            succeeded.push(done);
            answers.push(answer);
        }
    }
}
