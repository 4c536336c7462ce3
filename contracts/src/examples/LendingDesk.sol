// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceConsumer} from "../InferenceConsumer.sol";
import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {DType} from "../types/DType.sol";
import {Outcome, Result} from "../types/Request.sol";

/// @title A lending desk that prices loans with a credit-risk model
/// @notice A member applies, the model says how likely a default is, and the desk quotes what the loan must earn, or
/// declines. A quote holds for a day; accepting it pays the loan out, to be repaid when its months are over. Whoever runs
/// the desk knows its members: a model prices risk, it does not check identities, and a desk for real money would have the
/// figures attested.
/// @dev Warning: answers of level `Fast` are as honest as the seat that is drawn. A desk for real money also bounds what it
/// lends on one answer, or lets its owner look at quotes.
// A block producer can shift its timestamp by seconds; the desk counts days.
// forge-lint: disable-next-item(block-timestamp)
contract LendingDesk is InferenceConsumer {
    enum Status {
        None,
        Asked,
        Declined,
        Quoted,
        Lent,
        Repaid,
        Defaulted
    }

    struct Loan {
        address borrower;
        uint96 principal;
        /// Owed on top of the principal.
        uint96 interest;
        uint40 quoteExpires;
        /// The end of the loan, once it is lent.
        uint40 due;
        uint16 months;
        Status status;
        /// The borrower's membership when it applied.
        uint32 membership;
    }

    uint256 public constant QUOTE_LIFETIME = 1 days;
    /// @notice Time between two applications of a member: longer than a quote lives, so nobody asks until a quote is low.
    uint256 public constant APPLICATION_PAUSE = 30 days;
    uint256 public constant MONTH = 30 days;
    /// @notice The longest loan that the model was trained on.
    uint16 public constant MAX_MONTHS = 72;
    /// @notice Highest probability of default that gets a loan, of 1e18.
    uint256 public constant MAX_RISK = 0.4e18;
    /// @notice Part of a loan that comes back if it goes bad, of 1e18.
    uint256 public constant RECOVERY = 0.4e18;
    /// @notice Part of the principal that the desk earns on average, of 1e18.
    uint256 public constant MARGIN = 0.03e18;

    address public immutable owner;
    bytes32 public immutable creditModel;
    /// @notice Wei per unit of the currency that the model was trained on.
    uint96 public immutable unit;

    /// @notice Number of a member's membership, another with each admission; zero if the account is no member.
    mapping(address account => uint32) public membershipOf;
    /// @notice Time from which a member may apply again.
    mapping(address account => uint256) public mayApplyFrom;
    mapping(bytes32 requestId => Loan) public loans;
    /// @notice Loan of a borrower that is not repaid; zero if there is none.
    mapping(address borrower => bytes32 requestId) public openLoan;
    uint32 private _admissions;

    event Applied(bytes32 indexed requestId, address indexed borrower, uint256 principal, uint256 months);
    event Quoted(bytes32 indexed requestId, uint256 risk, uint256 interest);
    /// @notice The risk is too high, or the model could not answer (`outcome` is not `Ok`).
    event Declined(bytes32 indexed requestId, Outcome outcome, uint256 risk);
    event Lent(bytes32 indexed requestId);
    event Repaid(bytes32 indexed requestId);
    event Defaulted(bytes32 indexed requestId);

    error NotOwner(address caller);
    error NotMember(address caller);
    error NotBorrower(address caller);
    error TooSoon(uint256 mayApplyFrom);
    error WrongDuration(uint256 months, uint256 max);
    error HasOpenLoan(bytes32 requestId);
    error WrongStatus(bytes32 requestId, Status status);
    error QuoteExpired(uint256 expiry);
    error NotOverdue(uint256 due);
    error WrongAmount(uint256 sent, uint256 owed);
    error NotEnoughFunds(uint256 available, uint256 needed);
    error TransferFailed();

    constructor(IInferenceCoordinator coordinator_, bytes32 creditModel_, uint96 unit_)
        payable
        InferenceConsumer(coordinator_)
    {
        (owner, creditModel, unit) = (msg.sender, creditModel_, unit_);
    }

    /// @notice Takes money to lend.
    receive() external payable {}

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    /// @notice Admits a member, who may apply at once, or removes one. Either ends what the account applied for before, its quotes
    /// included. A member whose application nobody answered is admitted again.
    function setMember(address account, bool member) external onlyOwner {
        membershipOf[account] = member ? ++_admissions : 0;
        delete mayApplyFrom[account];
    }

    function withdraw(uint256 amount) external onlyOwner {
        _send(owner, amount);
    }

    /// @notice Delivers an answer that failed to arrive. A quote lives from its delivery, so only the owner may; until the answer's
    /// vesting block anybody can, by way of the coordinator.
    function redeliver(Result calldata result, bytes calldata output, uint32 gasLimit)
        external
        onlyOwner
        returns (bool delivered)
    {
        return _redeliver(result, output, gasLimit);
    }

    /// @notice Applies for a loan; the ETH attached is the fee of the model's nodes.
    /// @param months The loan's duration, 1 to 72.
    /// @param amount The principal, in the model's currency.
    /// @param figures Installment rate in percent of income, years of residence, age, loans at this bank, dependants.
    /// @param categories The thirteen codes of the model's `details.json`.
    function applyForLoan(uint16 months, uint32 amount, uint32[5] calldata figures, uint8[13] calldata categories)
        external
        payable
        returns (bytes32 requestId)
    {
        uint32 membership = membershipOf[msg.sender];
        if (membership == 0) revert NotMember(msg.sender);
        if (block.timestamp < mayApplyFrom[msg.sender]) revert TooSoon(mayApplyFrom[msg.sender]);
        if (months == 0 || months > MAX_MONTHS) revert WrongDuration(months, MAX_MONTHS);
        mayApplyFrom[msg.sender] = block.timestamp + APPLICATION_PAUSE;
        // Two inputs in the model's order: seven numbers, which the nodes cast to floats, and thirteen codes.
        bytes memory numbers = abi.encodePacked(uint256(months), uint256(amount), figures);
        requestId = _request(
            creditModel,
            Tensor.pack(
                Tensor.ints(DType.U32, 0, Tensor.dims(1, 7), numbers),
                Tensor.ints(DType.U8, 0, Tensor.dims(1, 13), abi.encodePacked(categories))
            )
        );
        Loan storage loan = loans[requestId];
        (loan.borrower, loan.months, loan.status) = (msg.sender, months, Status.Asked);
        loan.membership = membership;
        loan.principal = uint96(amount) * unit;
        emit Applied(requestId, msg.sender, loan.principal, months);
    }

    /// @notice Takes the quote: the borrower, if a member ever since it applied, gets the principal.
    function accept(bytes32 requestId) external {
        Loan storage loan = loans[requestId];
        if (msg.sender != loan.borrower) revert NotBorrower(msg.sender);
        if (loan.membership != membershipOf[msg.sender]) revert NotMember(msg.sender);
        if (loan.status != Status.Quoted) revert WrongStatus(requestId, loan.status);
        if (block.timestamp > loan.quoteExpires) revert QuoteExpired(loan.quoteExpires);
        if (openLoan[msg.sender] != 0) revert HasOpenLoan(openLoan[msg.sender]);
        // All that this call changes is written before the borrower is called.
        loan.status = Status.Lent;
        loan.due = uint40(block.timestamp + loan.months * MONTH);
        openLoan[msg.sender] = requestId;
        emit Lent(requestId);
        _send(msg.sender, loan.principal);
    }

    /// @notice Pays a loan back with its interest, even after its default; anybody may.
    function repay(bytes32 requestId) external payable {
        Loan storage loan = loans[requestId];
        if (loan.status != Status.Lent && loan.status != Status.Defaulted) revert WrongStatus(requestId, loan.status);
        uint256 owed = uint256(loan.principal) + loan.interest;
        if (msg.value != owed) revert WrongAmount(msg.value, owed);
        loan.status = Status.Repaid;
        delete openLoan[loan.borrower];
        emit Repaid(requestId);
    }

    /// @notice Records that a loan is overdue and removes its borrower from the members; anybody may.
    function declareDefault(bytes32 requestId) external {
        Loan storage loan = loans[requestId];
        if (loan.status != Status.Lent) revert WrongStatus(requestId, loan.status);
        if (block.timestamp <= loan.due) revert NotOverdue(loan.due);
        loan.status = Status.Defaulted;
        delete membershipOf[loan.borrower];
        emit Defaulted(requestId);
    }

    /// @notice The interest that pays for the loans that go bad: (1 − risk)·(principal + interest) + risk·recovered
    /// is the principal and the margin.
    function interestFor(uint256 principal, uint256 risk) public pure returns (uint256) {
        uint256 needed = principal * (1e18 + MARGIN) - principal * risk / 1e18 * RECOVERY;
        return needed / (1e18 - risk) - principal;
    }

    /// @dev This reads nothing but the answer: whoever carries it chooses what surrounds the call.
    function _onInference(bytes32 requestId, Outcome outcome, bytes calldata output) internal override {
        Loan storage loan = loans[requestId];
        if (loan.status != Status.Asked) revert WrongStatus(requestId, loan.status);
        // Without an output there is no loan, but the borrower may correct the application at once.
        uint256 risk = 1e18;
        if (outcome == Outcome.Ok) {
            int256 wad = Tensor.toWad(output, 0);
            if (wad >= 0 && wad < 1e18) risk = uint256(wad);
        } else {
            delete mayApplyFrom[loan.borrower];
        }
        if (risk > MAX_RISK) {
            loan.status = Status.Declined;
            emit Declined(requestId, outcome, risk);
        } else {
            uint256 interest = interestFor(loan.principal, risk);
            loan.status = Status.Quoted;
            loan.interest = uint96(interest);
            loan.quoteExpires = uint40(block.timestamp + QUOTE_LIFETIME);
            emit Quoted(requestId, risk, interest);
        }
    }

    function _send(address to, uint256 amount) private {
        if (amount > address(this).balance) revert NotEnoughFunds(address(this).balance, amount);
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed();
    }
}
