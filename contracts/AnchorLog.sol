// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IAnchorLog} from "./interfaces/IAnchorLog.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";

/// @title AnchorLog: {IAnchorLog} for the members of a consortium
contract AnchorLog is IAnchorLog {
    /// Two slots: root; sequence and instances.
    struct Head {
        bytes32 root;
        uint64 sequence;
        uint64 instances;
    }

    /// One slot. It is what makes "once" a rule of the contract, and what finds a batch without a search through logs.
    struct Place {
        uint64 blockNumber;
        uint64 sequence;
    }

    /// Never changed. In storage, so that all logs have the same code, by which they are recognised.
    IConsortium private _consortium;
    mapping(address institution => Head) private _heads;
    /// By institution, so that no member can take another's batch by writing its id first.
    mapping(address institution => mapping(bytes32 batch => Place)) private _places;

    /// @param members The consortium whose members may anchor.
    constructor(IConsortium members) {
        if (address(members).code.length == 0) revert NoConsortium(address(members));
        _consortium = members;
    }

    /// @inheritdoc IAnchorLog
    function anchor(
        bytes32 batch,
        uint64 sequence,
        bytes32 previousRoot,
        bytes32 merkleRoot,
        uint32 count,
        Study[] calldata studies
    ) external {
        if (!isMember(msg.sender)) revert NotMember(msg.sender);
        if (count == 0 || merkleRoot == 0) revert EmptyBatch();
        if (studies.length == 0 || studies.length > count) revert StudyCountOutOfRange(studies.length, count);

        Head storage last = _heads[msg.sender];
        uint64 expected = last.sequence;
        if (sequence != expected) revert OutOfSequence(expected, sequence);
        if (previousRoot != last.root) revert PreviousRootMismatch(last.root, previousRoot);
        Place storage place = _places[msg.sender][batch];
        if (place.blockNumber != 0) revert AlreadyAnchored(batch, place.blockNumber);

        last.root = merkleRoot;
        last.sequence = expected + 1;
        last.instances += count;
        place.blockNumber = uint64(block.number);
        place.sequence = sequence;

        emit Anchored(msg.sender, batch, sequence, previousRoot, merkleRoot, count);
        for (uint256 i = 0; i < studies.length; i++) {
            Study calldata study = studies[i];
            if (study.total == 0) revert EmptyStudy(study.studyReference);
            emit StudyAnchored(study.studyReference, msg.sender, sequence, study.total);
        }
    }

    /// @inheritdoc IAnchorLog
    function head(address institution) external view returns (bytes32 root, uint64 sequence, uint64 instances) {
        Head storage last = _heads[institution];
        return (last.root, last.sequence, last.instances);
    }

    /// @inheritdoc IAnchorLog
    function anchorOf(address institution, bytes32 batch) external view returns (uint64 blockNumber, uint64 sequence) {
        Place storage place = _places[institution][batch];
        return (place.blockNumber, place.sequence);
    }

    /// @inheritdoc IAnchorLog
    function isMember(address account) public view returns (bool) {
        return _consortium.isMember(account);
    }

    /// @inheritdoc IAnchorLog
    function consortium() external view returns (address) {
        return address(_consortium);
    }
}
