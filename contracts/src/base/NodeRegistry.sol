// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {INodeRegistry, SeatRef} from "../interfaces/INodeRegistry.sol";
import {FreeSeats} from "../libraries/FreeSeats.sol";
import {PackedParameters} from "../libraries/PackedParameters.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {StatementLib} from "../libraries/StatementLib.sol";
import {Domain} from "./Domain.sol";
import {Governance} from "./Governance.sol";
import {Ledger} from "./Ledger.sol";
import {ModelRegistry} from "./ModelRegistry.sol";

/// @title Nodes, their signing keys, and the bonded seats they answer from
/// @dev A seat is one word for the sortition (`Seat`), and beside it who holds it and held it (`Tenure`), which only
/// cold paths read.
abstract contract NodeRegistry is Governance, Ledger, ModelRegistry, INodeRegistry, Domain {
    using FreeSeats for mapping(uint256 word => uint256);

    uint32 private constant ANY_INDEX = type(uint32).max;
    uint48 private constant NOT_LEAVING = type(uint48).max;

    struct Seat {
        address signer;
        uint48 from;
        uint48 until;
    }

    struct Tenure {
        address owner;
        uint48 since;
        bool live;
        // The parameters under which the seat was taken.
        uint16 version;
        uint64 bondGwei;
        // When the bond is free; 0 until the seat leaves.
        uint48 releaseBlock;
    }

    /// @dev Of a tenure that ended, what pay for its answers needs.
    struct FormerTenure {
        address owner;
        uint48 since;
    }

    /// @dev A key belongs to one owner for ever, and a revoked key is no one's again.
    struct Key {
        address owner;
        bool revoked;
    }

    mapping(bytes32 modelId => mapping(uint32 index => Seat)) private _seats;
    mapping(bytes32 modelId => mapping(uint32 index => Tenure)) private _tenures;
    mapping(bytes32 modelId => mapping(uint32 index => FormerTenure[])) private _formerTenures;
    /// @dev The indices below `seatCount` that nobody holds. The highest index is always held.
    mapping(bytes32 modelId => mapping(uint256 word => uint256)) private _free;
    mapping(address signer => Key) private _keys;

    /// @inheritdoc INodeRegistry
    mapping(address owner => address signer) public signerOf;

    /// @inheritdoc INodeRegistry
    function registerNode(address signer, bytes calldata signature, string calldata uri) external unlocked {
        bytes32 digest = StatementLib.signerDigest(_domainSeparator(), msg.sender);
        address proven = Signatures.recover(digest, signature);
        if (proven == address(0) || proven != signer) revert SignerNotProven(signer, msg.sender);
        Key storage key = _keys[signer];
        if (key.revoked || (key.owner != address(0) && key.owner != msg.sender)) {
            revert SignerTaken(signer, key.owner);
        }
        key.owner = msg.sender;
        signerOf[msg.sender] = signer;
        emit NodeRegistered(msg.sender, signer, uri);
    }

    /// @inheritdoc INodeRegistry
    function revokeSigner(address owner, SeatRef[] calldata seats) external unlocked {
        address signer = msg.sender;
        if (msg.sender == owner) signer = signerOf[owner];
        else if (owner == address(0) || _keys[msg.sender].owner != owner) revert SignerNotProven(msg.sender, owner);
        if (signer != address(0) && !_keys[signer].revoked) {
            _keys[signer].revoked = true;
            if (signerOf[owner] == signer) delete signerOf[owner];
            emit SignerRevoked(owner, signer);
        }
        for (uint256 i = 0; i < seats.length; ++i) {
            (bytes32 modelId, uint32 index) = (seats[i].modelId, seats[i].index);
            Tenure storage tenure = _ownTenure(modelId, index, owner);
            Seat storage entry = _seats[modelId][index];
            if (!_keys[entry.signer].revoked) revert SeatNotReady(modelId, index);
            entry.signer = address(0);
            _unlive(modelId, tenure);
            emit SeatRevoked(modelId, index);
        }
    }

    /// @inheritdoc INodeRegistry
    function joinSeat(bytes32 modelId, uint32 expectedIndex) external payable unlocked returns (uint32 index) {
        PackedParameters p = _unpaused();
        Model storage m = _models[modelId];
        if (!m.registered) revert UnknownModel(modelId);
        uint256 bond = p.seatBondGwei() * 1 gwei;
        if (msg.value != bond) revert WrongBond(msg.value, bond);
        index = m.seatCount;
        (bool any, uint32 lowest) = _free[modelId].takeLowest(index);
        if (any) index = lowest;
        else m.seatCount = index + 1;
        if (expectedIndex != ANY_INDEX && expectedIndex != index) revert SeatNotFree(modelId, expectedIndex);
        _tenures[modelId][index] = Tenure({
            owner: msg.sender,
            since: uint48(block.number),
            live: false,
            version: p.version(),
            bondGwei: uint64(p.seatBondGwei()),
            releaseBlock: 0
        });
        (address signer, uint48 from) = _key(modelId, index, p);
        emit SeatJoined(modelId, index, msg.sender, signer, from, bond);
    }

    /// @inheritdoc INodeRegistry
    function activateSeat(bytes32 modelId, uint32 index) external unlocked {
        Seat memory s = _seats[modelId][index];
        Tenure storage tenure = _tenures[modelId][index];
        bool ready = s.signer != address(0) && !_keys[s.signer].revoked && s.until == NOT_LEAVING && !tenure.live;
        if (!ready) revert SeatNotReady(modelId, index);
        if (block.number < s.from) revert TooEarly(block.number, s.from);
        tenure.live = true;
        ++_models[modelId].liveSeats;
        emit SeatActivated(modelId, index);
    }

    /// @inheritdoc INodeRegistry
    function rekeySeat(bytes32 modelId, uint32 index) external unlocked {
        Tenure storage tenure = _ownTenure(modelId, index, msg.sender);
        Seat storage entry = _seats[modelId][index];
        if (entry.until != NOT_LEAVING || entry.signer == signerOf[msg.sender] && entry.signer != address(0)) {
            revert SeatNotReady(modelId, index);
        }
        _unlive(modelId, tenure);
        (address signer, uint48 from) = _key(modelId, index, _currentParameters());
        emit SeatRekeyed(modelId, index, signer, from);
    }

    /// @inheritdoc INodeRegistry
    function leaveSeat(bytes32 modelId, uint32 index) external unlocked {
        Tenure storage tenure = _ownTenure(modelId, index, msg.sender);
        Seat storage entry = _seats[modelId][index];
        if (entry.until != NOT_LEAVING) revert SeatNotReady(modelId, index);
        // Requests of this very block may have counted on the seat.
        uint48 until = uint48(block.number + 1);
        entry.until = until;
        tenure.releaseBlock = uint48(until + _longestExitDelaySince(tenure.version));
        _unlive(modelId, tenure);
        emit SeatLeft(modelId, index, until);
    }

    /// @inheritdoc INodeRegistry
    function releaseSeat(bytes32 modelId, uint32 index) external unlocked {
        Tenure memory tenure = _tenures[modelId][index];
        if (tenure.releaseBlock == 0) revert SeatNotReady(modelId, index);
        if (block.number < tenure.releaseBlock) revert TooEarly(block.number, tenure.releaseBlock);
        delete _seats[modelId][index];
        delete _tenures[modelId][index];
        // To requests in flight the index is a hole from now on, whoever takes it next: `from` will be later than they are.
        _formerTenures[modelId][index].push(FormerTenure(tenure.owner, tenure.since));
        Model storage m = _models[modelId];
        if (index + 1 == m.seatCount) {
            uint32 seatCount = _free[modelId].trim(index);
            m.seatCount = seatCount;
            emit SeatsTrimmed(modelId, seatCount);
        } else {
            _free[modelId].add(index);
        }
        uint256 bond = uint256(tenure.bondGwei) * 1 gwei;
        _credit(tenure.owner, bond);
        emit SeatReleased(modelId, index, tenure.owner, bond);
    }

    /// @inheritdoc INodeRegistry
    function seat(bytes32 modelId, uint32 index) external view returns (address signer, uint48 from, uint48 until) {
        Seat memory s = _seats[modelId][index];
        return (s.signer, s.from, s.until);
    }

    /// @inheritdoc INodeRegistry
    function seatHolder(bytes32 modelId, uint32 index)
        external
        view
        returns (address owner, uint48 since, bool live, uint256 bond)
    {
        Tenure memory t = _tenures[modelId][index];
        return (t.owner, t.since, t.live, uint256(t.bondGwei) * 1 gwei);
    }

    /// @dev The signer of a seat that is eligible for a request of this block, or zero.
    function _eligibleSigner(bytes32 modelId, uint32 index, uint256 requestBlock) internal view returns (address) {
        Seat memory s = _seats[modelId][index];
        return s.from <= requestBlock && requestBlock < s.until ? s.signer : address(0);
    }

    /// @dev Who holds a seat, and since which block; if nobody does, since the end of time.
    function _holderOf(bytes32 modelId, uint32 index) internal view returns (address owner, uint256 since) {
        Tenure storage tenure = _tenures[modelId][index];
        owner = tenure.owner;
        since = owner == address(0) ? type(uint256).max : tenure.since;
    }

    /// @dev Who held a seat in this block and left it since.
    function _formerHolderAt(bytes32 modelId, uint32 index, uint256 blockNumber) internal view returns (address) {
        FormerTenure[] storage former = _formerTenures[modelId][index];
        uint256 i = former.length;
        // Ends before the array does: an answer was signed, so somebody held the seat.
        while (former[--i].since > blockNumber) {}
        return former[i].owner;
    }

    function _ownTenure(bytes32 modelId, uint32 index, address owner) private view returns (Tenure storage tenure) {
        tenure = _tenures[modelId][index];
        if (owner == address(0) || tenure.owner != owner) revert NotSeatOwner(modelId, index, tenure.owner);
    }

    /// @dev Gives a seat the caller's signing key, from the end of the activation delay on.
    function _key(bytes32 modelId, uint32 index, PackedParameters p) private returns (address signer, uint48 from) {
        signer = signerOf[msg.sender];
        if (signer == address(0)) revert NoSigner(msg.sender);
        from = uint48(block.number + p.activationDelay());
        _seats[modelId][index] = Seat({signer: signer, from: from, until: NOT_LEAVING});
    }

    function _unlive(bytes32 modelId, Tenure storage tenure) private {
        if (!tenure.live) return;
        tenure.live = false;
        --_models[modelId].liveSeats;
    }
}
