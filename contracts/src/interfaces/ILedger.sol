// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IErrors} from "../types/Errors.sol";

/// @title One ledger of withdrawable balances per token
/// @notice Deposits, refunds and pay are balances here, and prepaid requests draw on them. Nothing is pushed.
/// @dev Warning: a consumer that an account allows may ask as often as the balance lasts, up to the cap each time. Allow
/// only contracts that guard who may spend it.
/// @dev Warning: no key withdraws for another account. What is credited to a contract that cannot call `withdraw` stays.
interface ILedger is IErrors {
    /// @notice Somebody credited ETH to an account.
    event Deposited(address indexed token, address indexed account, address indexed from, uint256 amount);
    /// @notice An account sent ETH from its balance.
    event Withdrawn(address indexed token, address indexed account, address to, uint256 amount);
    /// @notice A consumer may spend up to `cap` per request from an account; 0 withdraws the leave.
    event AllowanceSet(address indexed account, address indexed consumer, uint256 cap);

    /// @notice The account's balance is smaller than what is taken from it.
    error InsufficientBalance(address account, uint256 balance, uint256 needed);
    /// @notice The account does not allow this consumer so much per request.
    error NotAllowed(address account, address consumer, uint256 cap, uint256 needed);
    /// @notice The receiver refused the ETH.
    error TransferFailed(address to, uint256 amount);

    /// @notice Credits the attached ETH to an account. Callable from a callback.
    /// @dev Reverts `InvalidAccount` for zero and for this contract.
    function deposit(address account) external payable;

    /// @notice Sends ETH from the caller's balance.
    function withdraw(address payable to, uint256 amount) external;

    /// @notice Lets a consumer make requests at the caller's expense, each up to `cap` wei.
    function allow(address consumer, uint96 cap) external;

    /// @notice The withdrawable balance of an account; token zero is ETH, the only one offered yet.
    function balanceOf(address token, address account) external view returns (uint256);

    /// @notice What a consumer may spend per request from an account.
    function allowance(address account, address consumer) external view returns (uint256 cap);
}
