// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILedger} from "../interfaces/ILedger.sol";
import {AskChecks} from "../libraries/AskChecks.sol";
import {Lock} from "./Lock.sol";

/// @title The ledger of withdrawable balances
/// @dev Every wei of the contract is in exactly one place: an open or unclaimed request, a bond, or a balance here.
abstract contract Ledger is ILedger, Lock {
    /// @dev The only token offered yet.
    address internal constant ETH = address(0);

    /// @dev In ETH. A token's balances would be a mapping of their own: one key is one hash.
    mapping(address account => uint256) private _balances;
    mapping(address account => mapping(address consumer => uint96 cap)) private _allowances;

    /// @inheritdoc ILedger
    function deposit(address account) external payable {
        AskChecks.checkAccount(account);
        _credit(account, msg.value);
        emit Deposited(ETH, account, msg.sender, msg.value);
    }

    /// @inheritdoc ILedger
    function withdraw(address payable to, uint256 amount) external locked {
        _debit(msg.sender, amount);
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to, amount);
        emit Withdrawn(ETH, msg.sender, to, amount);
    }

    /// @inheritdoc ILedger
    function allow(address consumer, uint96 cap) external unlocked {
        _allowances[msg.sender][consumer] = cap;
        emit AllowanceSet(msg.sender, consumer, cap);
    }

    /// @inheritdoc ILedger
    function balanceOf(address token, address account) external view returns (uint256) {
        return token == ETH ? _balances[account] : 0;
    }

    /// @inheritdoc ILedger
    function allowance(address account, address consumer) external view returns (uint256 cap) {
        return _allowances[account][consumer];
    }

    function _credit(address account, uint256 amount) internal {
        _balances[account] += amount;
    }

    /// @dev Takes the escrow of a request of `consumer` from the balance of `account`.
    function _draw(address account, address consumer, uint256 amount) internal {
        if (account != consumer) {
            uint256 cap = _allowances[account][consumer];
            if (cap < amount) revert NotAllowed(account, consumer, cap, amount);
        }
        _debit(account, amount);
    }

    function _debit(address account, uint256 amount) private {
        uint256 balance = _balances[account];
        if (balance < amount) revert InsufficientBalance(account, balance, amount);
        unchecked {
            _balances[account] = balance - amount;
        }
    }
}
