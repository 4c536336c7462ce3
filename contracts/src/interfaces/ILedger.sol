// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title One ledger of withdrawable balances per token
/// @notice Deposits, refunds and pay are balances here, and prepaid requests draw on them. Nothing is pushed.
interface ILedger {
    event Deposited(address indexed token, address indexed account, address indexed from, uint256 amount);
    event Withdrawn(address indexed token, address indexed account, address to, uint256 amount);
    /// @notice A consumer may spend up to `cap` per request from an account; 0 withdraws the leave.
    event AllowanceSet(address indexed account, address indexed consumer, uint256 cap);

    error InsufficientBalance(address account, uint256 balance, uint256 needed);
    /// @notice The account does not allow this consumer so much per request.
    error NotAllowed(address account, address consumer, uint256 cap, uint256 needed);
    error TransferFailed(address to, uint256 amount);

    /// @notice Credits the attached ETH to an account.
    function deposit(address account) external payable;

    /// @notice Sends ETH from the caller's balance.
    function withdraw(address payable to, uint256 amount) external;

    /// @notice Lets a consumer make requests at the caller's expense, each up to `cap` wei.
    function allow(address consumer, uint96 cap) external;

    /// @notice The withdrawable balance of an account; token zero is ETH.
    function balanceOf(address token, address account) external view returns (uint256);

    /// @notice What a consumer may spend per request from an account.
    function allowance(address account, address consumer) external view returns (uint256 cap);
}
