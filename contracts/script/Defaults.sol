// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Parameters} from "../src/types/Parameters.sol";

/// @title Parameters that deployments start with
/// @dev Each set stands in full, so that who deploys reads it in one place.
library Defaults {
    /// @notice For a public chain with blocks of 12 seconds. `Parameters` says what each does.
    function standard() internal pure returns (Parameters memory) {
        return Parameters({
            window: 4,
            activationDelay: 64,
            vesting: 600,
            exitDelay: 8600,
            parameterDelay: 14_400,
            maxCallbackGas: 2_000_000,
            maxQuorum: 1,
            seatBondGwei: 1e9
        });
    }

    /// @notice For a local chain: a window of two blocks, all else as short as the bounds allow, and a bond of 0.01 ETH.
    function dev() internal pure returns (Parameters memory) {
        return Parameters({
            window: 2,
            activationDelay: 8,
            vesting: 32,
            exitDelay: 8032,
            parameterDelay: 7200,
            maxCallbackGas: 2_000_000,
            maxQuorum: 1,
            seatBondGwei: 1e7
        });
    }
}
