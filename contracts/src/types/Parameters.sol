// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice The parameters of a deployment. They are versioned, every request names its version, and a change waits
/// `parameterDelay` blocks. Durations are in blocks.
struct Parameters {
    /// Blocks that each further rank has to wait, 1 to 100.
    uint16 window;
    /// Blocks from joining until a seat may answer, 8 to 50,000.
    uint32 activationDelay;
    /// Blocks from an answer until it is paid: the audit window, 32 to 50,000.
    uint32 vesting;
    /// Blocks from leaving until the bond is free, at least 8,000 + vesting.
    uint32 exitDelay;
    /// Blocks until a change of parameters takes effect, at least 7,200.
    uint32 parameterDelay;
    /// The largest callback gas limit, at most 10,000,000.
    uint32 maxCallbackGas;
    /// The largest quorum, 1 to 16.
    uint8 maxQuorum;
    /// Bond of a seat in gwei: 1 gwei to 10,000 ETH.
    uint64 seatBondGwei;
}
