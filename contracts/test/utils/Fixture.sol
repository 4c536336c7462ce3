// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Defaults} from "../../script/Defaults.sol";
import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {RequestFields, RequestLib} from "../../src/libraries/RequestLib.sol";
import {StatementLib} from "../../src/libraries/StatementLib.sol";
import {Agreement, AgreementKind, ModelCard} from "../../src/types/ModelCard.sol";
import {Parameters} from "../../src/types/Parameters.sol";
import {Ask, Attestation, Fulfillment, Outcome, Request, Result} from "../../src/types/Request.sol";
import {Status} from "../../src/types/Status.sol";
import {Build} from "./Build.sol";

/// @notice A node: its owner's account and its signing key.
struct Node {
    address owner;
    address signer;
}

/// @title A coordinator with one model, and everything a test needs to ask it and to answer
/// @dev Tests read the block number with `vm.getBlockNumber()`: the optimizer takes `block.number` for the same all
/// through a call, and `vm.roll` changes it.
abstract contract Fixture is Test {
    using RequestLib for Request;

    uint32 internal constant ANY_INDEX = type(uint32).max;
    address internal constant ETH = address(0);
    /// @dev The system contract of EIP-2935, which the tests' chain lacks.
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    uint256 internal constant START = 100_000;

    InferenceCoordinator internal coordinator;
    bytes32 internal modelId;
    address internal governor = makeAddr("governor");

    /// @dev Signing keys by their address.
    mapping(address signer => uint256) internal keyOf;

    function setUp() public virtual {
        vm.roll(START);
        // By name, not `new`: else the compiler builds the coordinator anew inside every test contract.
        coordinator = InferenceCoordinator(deployCode(bytecode(), abi.encode(governor, parameters())));
        modelId = coordinator.registerModel(card("model"), "file:model.onnx");
    }

    /// @notice The bytecode under test.
    function bytecode() internal view virtual returns (string memory) {
        return Build.coordinator();
    }

    /// @notice Those of a local chain, with room for several signers.
    function parameters() internal pure returns (Parameters memory p) {
        p = Defaults.dev();
        p.maxQuorum = 4;
    }

    function bondOf(Parameters memory p) internal pure returns (uint256) {
        return uint256(p.seatBondGwei) * 1 gwei;
    }

    /// @notice A valid card with one elementwise output; another name makes another model.
    function card(string memory name) internal pure returns (ModelCard memory c) {
        c.fileHash = sha256(bytes(name));
        c.detailsHash = sha256(bytes(string.concat(name, " details")));
        c.profileHash = sha256("profile");
        c.agreement = new Agreement[](1);
        c.agreement[0] = Agreement({kind: AgreementKind.Elementwise, atol: 1e12, rtol: 1e12, gap: 0});
        c.maxInputBytes = 4096;
        c.maxOutputBytes = 1024;
    }

    // Blocks

    function roll(uint256 blocks) internal {
        vm.roll(vm.getBlockNumber() + blocks);
    }

    /// @notice Makes block hashes older than 256 blocks readable, as EIP-2935 does. What `hashOf` gives is its own.
    function provideHistory(uint256 blockNumber) internal {
        vm.mockCall(HISTORY, abi.encode(blockNumber), abi.encode(keccak256(abi.encode("block", blockNumber))));
    }

    /// @notice The hash of a past block as the coordinator sees it.
    function hashOf(uint256 blockNumber) internal view returns (bytes32) {
        bool recent = vm.getBlockNumber() - blockNumber <= 256;
        return recent ? this.recentHash(blockNumber) : keccak256(abi.encode("block", blockNumber));
    }

    /// @dev A call of its own, for the same reason as `vm.getBlockNumber()`.
    function recentHash(uint256 blockNumber) external view returns (bytes32) {
        return blockhash(blockNumber);
    }

    // Nodes and seats

    /// @notice A funded owner with a key, registered nowhere yet.
    function newNode(string memory name) internal returns (Node memory node) {
        node.owner = makeAddr(string.concat(name, " owner"));
        node.signer = newKey(string.concat(name, " signer"));
        vm.deal(node.owner, 1000 ether);
    }

    function newKey(string memory name) internal returns (address signer) {
        uint256 key;
        (signer, key) = makeAddrAndKey(name);
        keyOf[signer] = key;
    }

    /// @notice A key's proof, 65 bytes, that it signs for an owner.
    function proofOf(address signer, address owner) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf[signer], StatementLib.signerDigest(domain(), owner));
        return abi.encodePacked(r, s, v);
    }

    /// @notice The separator of the coordinator's domain.
    function domain() internal view returns (bytes32) {
        (,,, uint256 chainId,,,) = coordinator.eip712Domain();
        return StatementLib.domainSeparator(chainId, address(coordinator));
    }

    function register(Node memory node) internal {
        bytes memory proof = proofOf(node.signer, node.owner);
        vm.prank(node.owner);
        coordinator.registerNode(node.signer, proof, "http://node");
    }

    /// @notice Takes a seat on the fixture's model, at the present bond.
    function join(Node memory node) internal returns (uint32) {
        return join(node, modelId, ANY_INDEX);
    }

    function join(Node memory node, bytes32 model, uint32 expectedIndex) internal returns (uint32) {
        uint256 bond = bondOf(coordinator.parameters(coordinator.parameterVersion()));
        vm.prank(node.owner);
        return coordinator.joinSeat{value: bond}(model, expectedIndex);
    }

    function depart(Node memory node, uint32 index) internal {
        vm.prank(node.owner);
        coordinator.leaveSeat(modelId, index);
    }

    /// @notice A registered node with one live seat.
    function liveNode(string memory name) internal returns (Node memory node, uint32 index) {
        node = newNode(name);
        register(node);
        index = liveSeat(node);
    }

    /// @notice A further live seat of a registered node.
    function liveSeat(Node memory node) internal returns (uint32 index) {
        index = join(node);
        (, uint48 from,) = coordinator.seat(modelId, index);
        vm.roll(from);
        coordinator.activateSeat(modelId, index);
    }

    function refs(uint32 index) internal view returns (SeatRef[] memory seats) {
        seats = new SeatRef[](1);
        seats[0] = SeatRef(modelId, index);
    }

    function liveSeats() internal view returns (uint32 live) {
        (,,,, live) = coordinator.model(modelId);
    }

    // Requests

    /// @notice A request without callback, for the fixture's model.
    function newAsk(address refundTo) internal view returns (Ask memory ask) {
        ask.modelId = modelId;
        ask.refundTo = refundTo;
        ask.fee = 0.01 ether;
        ask.submitFee = 0.001 ether;
        ask.deadlineBlocks = 100;
        ask.outputWidth = 4;
        ask.outputDecimals = 6;
        ask.quorum = 1;
    }

    /// @notice Asks with ETH attached.
    function send(address consumer, Ask memory ask, bytes memory input) internal returns (Request memory r) {
        return send(consumer, ask, input, uint256(ask.fee) + ask.submitFee);
    }

    /// @notice Asks, and gives the request as the coordinator must have packed it.
    function send(address consumer, Ask memory ask, bytes memory input, uint256 value)
        internal
        returns (Request memory r)
    {
        (,,, uint32 seatCount,) = coordinator.model(ask.modelId);
        r = RequestLib.pack(
            RequestFields({
                modelId: ask.modelId,
                inputHash: keccak256(input),
                consumer: consumer,
                nonce: 0,
                seatCount: seatCount,
                refundTo: ask.refundTo,
                fee: ask.fee,
                token: ask.token,
                submitFee: ask.submitFee,
                valueAtRisk: ask.valueAtRisk,
                requestBlock: uint40(vm.getBlockNumber()),
                callbackGasLimit: ask.callbackGasLimit,
                outputMask: ask.outputMask,
                version: coordinator.parameterVersion(),
                deadlineBlocks: ask.deadlineBlocks,
                inputKind: ask.inputKind,
                outputWidth: ask.outputWidth,
                outputDecimals: ask.outputDecimals,
                quorum: ask.quorum,
                level: ask.level
            })
        );
        takeNonce(r);
        if (value != 0) vm.deal(consumer, consumer.balance + value);
        vm.prank(consumer);
        bytes32 requestId = coordinator.request{value: value}(ask, input);
        assertEq(requestId, coordinator.requestIdOf(r), "the fixture packs requests as the coordinator does");
    }

    /// @notice Gives a request that is to be made the smallest nonce under which its id is new.
    function takeNonce(Request memory r) internal view {
        RequestFields memory fields = r.unpack();
        for (uint64 nonce = 0; Status.unwrap(coordinator.statusOf(coordinator.requestIdOf(r))) != 0; ++nonce) {
            r.origin = RequestLib.packOrigin(fields.consumer, nonce, fields.seatCount);
        }
    }

    /// @notice A request's status word.
    function wordOf(bytes32 requestId) internal view returns (uint256) {
        return Status.unwrap(coordinator.statusOf(requestId));
    }

    // Answers

    /// @notice The eligible seat of the lowest rank, and the holes below it, ascending by rank.
    function drawn(Request memory r) internal view returns (bool any, uint32 index, uint32[] memory holes) {
        uint32[] memory order = byRank(r);
        uint256 lower;
        while (lower < order.length && !isEligible(r, order[lower])) ++lower;
        any = lower < order.length;
        if (any) index = order[lower];
        holes = new uint32[](lower);
        for (uint256 i = 0; i < lower; ++i) {
            holes[i] = order[i];
        }
    }

    /// @notice A request's seats, ascending by rank.
    function byRank(Request memory r) internal view returns (uint32[] memory order) {
        uint32 seatCount = r.unpack().seatCount;
        order = new uint32[](seatCount);
        bytes32 blockHash = hashOf(r.unpack().requestBlock);
        bytes32 requestId = coordinator.requestIdOf(r);
        for (uint32 s = 0; s < seatCount; ++s) {
            order[coordinator.rankOf(requestId, blockHash, s, seatCount)] = s;
        }
    }

    function isEligible(Request memory r, uint32 index) internal view returns (bool) {
        (address signer, uint48 from, uint48 until) = coordinator.seat(r.modelId, index);
        uint256 requestBlock = r.unpack().requestBlock;
        return signer != address(0) && from <= requestBlock && requestBlock < until;
    }

    /// @notice A valid answer by the seat that the sortition draws. Needs a later block than the request's.
    function answer(Request memory r, bytes memory output) internal view returns (Fulfillment memory) {
        (bool any, uint32 index, uint32[] memory holes) = drawn(r);
        assertTrue(any, "no seat is eligible");
        return answerBy(r, Outcome.Ok, output, index, holes);
    }

    /// @notice An answer by any seat, signed with the key that the seat has now.
    function answerBy(Request memory r, Outcome outcome, bytes memory output, uint32 index, uint32[] memory holes)
        internal
        view
        returns (Fulfillment memory)
    {
        (address signer,,) = coordinator.seat(r.modelId, index);
        return answerSigned(r, outcome, output, index, holes, signer);
    }

    /// @notice An answer in the name of any seat, signed with any key.
    function answerSigned(
        Request memory r,
        Outcome outcome,
        bytes memory output,
        uint32 index,
        uint32[] memory holes,
        address signer
    ) internal view returns (Fulfillment memory f) {
        f.request = r;
        f.outcome = outcome;
        f.output = output;
        f.holes = holes;
        f.attestations = new Attestation[](1);
        f.attestations[0] = attest(r, outcome, output, index, signer);
    }

    /// @notice A seat's signature under an answer, by any key.
    function attest(Request memory r, Outcome outcome, bytes memory output, uint32 index, address signer)
        internal
        view
        returns (Attestation memory)
    {
        bytes32 digest = coordinator.digestOf(
            coordinator.requestIdOf(r), hashOf(r.unpack().requestBlock), r.inputHash, outcome, keccak256(output), index
        );
        (bytes32 sigR, bytes32 sigVs) = vm.signCompact(keyOf[signer], digest);
        return Attestation({seat: index, r: sigR, vs: sigVs});
    }

    /// @notice The result of an answer that is fulfilled in the present block.
    function resultOf(Fulfillment memory f) internal view returns (Result memory) {
        bytes memory seats;
        for (uint256 i = 0; i < f.attestations.length; ++i) {
            seats = abi.encodePacked(seats, f.attestations[i].seat);
        }
        return Result({
            request: f.request,
            outcome: f.outcome,
            outputCommitment: keccak256(f.output),
            seats: seats,
            fulfilledAt: uint64(vm.getBlockNumber())
        });
    }

    /// @notice Asks on the usual terms, with ETH attached, for the consumer's own refund.
    function sendUsual(address consumer) internal returns (Request memory r) {
        return send(consumer, newAsk(consumer), "input");
    }

    /// @notice Answers by the drawn seat.
    function fulfill(Request memory r, bytes memory output) internal returns (Result memory result) {
        Fulfillment memory f = answer(r, output);
        coordinator.fulfill(f);
        return resultOf(f);
    }

    /// @notice The bytes of `Fulfilled`.
    function announced(Fulfillment memory f) internal pure returns (bytes memory) {
        bytes memory seats;
        for (uint256 i = 0; i < f.attestations.length; ++i) {
            seats = abi.encodePacked(seats, f.attestations[i].seat);
        }
        return abi.encodePacked(f.outcome, uint8(f.attestations.length), seats, f.output);
    }

    function claim(Result memory result) internal {
        Result[] memory results = new Result[](1);
        results[0] = result;
        coordinator.claim(results);
    }
}

/// @title The same with one live node
abstract contract LiveNodeFixture is Fixture {
    Node internal node;

    function setUp() public virtual override {
        super.setUp();
        (node,) = liveNode("node");
    }

    /// @dev A request whose callback has some gas.
    function askFor(address consumer, uint32 gasLimit) internal returns (Request memory) {
        Ask memory ask = newAsk(consumer);
        ask.callbackGasLimit = gasLimit;
        return send(consumer, ask, "input");
    }

    /// @dev What is recorded of a request.
    function flagsOf(Request memory r) internal view returns (uint256) {
        return wordOf(coordinator.requestIdOf(r)) & 0xff;
    }
}
