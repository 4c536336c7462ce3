// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernance} from "../interfaces/IGovernance.sol";
import {Parameters} from "../types/Parameters.sol";

/// @title The bounds of every parameter
library ParameterBounds {
    /// @notice The longest deadline of a request: the reach of EIP-2935, rounded down.
    uint256 internal constant MAX_DEADLINE = 8000;
    /// @dev No delay can be set so long that it would hold bonds or parameters for ever.
    uint256 private constant MAX_DELAY = 1_000_000;

    /// @notice Reverts with `ParameterOutOfBounds` for the first that is outside.
    function check(Parameters memory p) internal pure {
        check("window", p.window, 1, 100);
        check("activationDelay", p.activationDelay, 8, 50_000);
        check("vesting", p.vesting, 32, 50_000);
        check("exitDelay", p.exitDelay, MAX_DEADLINE + p.vesting, MAX_DELAY);
        check("parameterDelay", p.parameterDelay, 7200, MAX_DELAY);
        check("maxCallbackGas", p.maxCallbackGas, 0, 10_000_000);
        check("maxQuorum", p.maxQuorum, 1, 16);
        check("seatBondGwei", p.seatBondGwei, 1, type(uint64).max);
    }

    /// @notice Reverts unless `min ≤ value ≤ max`.
    function check(string memory name, uint256 value, uint256 min, uint256 max) internal pure {
        if (value < min || value > max) revert IGovernance.ParameterOutOfBounds(name, value, min, max);
    }
}
